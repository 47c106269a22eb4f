//! Kept state in a folder, one file per run, readable by its owner only.
//!
//! A file is the magic text, a sequence number (u64) that says which file changed last, the run's id
//! (u32 length, bytes), the number of vectors (u8), then for each its kind (u8), its length (u64) and
//! its `f32` values, and at the end the SHA-256 of all before. A kind above 127 is a place with nothing in
//! it yet: 128 less is the kind, and its values are zeros. All numbers are little endian. Files are written
//! beside their place, synced and renamed into it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::memory::{DeviceMemory, Kept, MemoryError, RUNS_KEPT, RunState};
use crate::state_folder::replace_private;

const MAGIC: &[u8; 16] = b"tributary-mem-v1";
const CHECKSUM: usize = 32;
/// Added to the kind of a place with nothing in it.
const EMPTY: u8 = 128;
/// Where the run's id begins: after the magic and the sequence number.
const BODY: usize = MAGIC.len() + 8;
/// Longest file: six vectors of which each may hold two values per parameter.
const LONGEST: u64 = 6 * 2 * 4 * tributary_model::MAX_PARAMETERS as u64 + (1 << 16);

/// Kept state in files. Holds nothing in memory.
#[derive(Debug)]
pub struct FileMemory {
    folder: PathBuf,
    /// One writer at a time.
    writing: Mutex<()>,
}

impl FileMemory {
    /// Uses `folder`, which is made when it does not exist.
    ///
    /// # Errors
    /// When the folder can't be made.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, MemoryError> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(|source| at(&folder, source))?;
        Ok(Self {
            folder,
            writing: Mutex::new(()),
        })
    }

    fn path(&self, run_id: &str) -> PathBuf {
        let name = hex::encode(&Sha256::digest(run_id)[..16]);
        self.folder.join(format!("{name}.run"))
    }

    /// All files with their sequence numbers; one that has none comes first.
    fn files(&self) -> Result<Vec<(u64, PathBuf)>, MemoryError> {
        let entries = fs::read_dir(&self.folder).map_err(|source| at(&self.folder, source))?;
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(|source| at(&self.folder, source))?.path();
            if path.extension().is_some_and(|extension| extension == "run") {
                files.push((sequence(&path).unwrap_or(0), path));
            }
        }
        files.sort();
        Ok(files)
    }
}

impl DeviceMemory for FileMemory {
    fn load(&self, run_id: &str) -> Result<RunState, MemoryError> {
        let path = self.path(run_id);
        let length = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(RunState::default());
            }
            Err(source) => return Err(at(&path, source)),
        };
        let damaged = |problem| MemoryError::Damaged {
            path: path.display().to_string(),
            problem,
        };
        if length > LONGEST {
            return Err(damaged("it is too long"));
        }
        let bytes = fs::read(&path).map_err(|source| at(&path, source))?;
        decode(&bytes, run_id).map_err(damaged)
    }

    fn merge(&self, run_id: &str, changes: RunState) -> Result<(), MemoryError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.load(run_id).unwrap_or_default();
        state.merge(changes);
        let newest = self.files()?.last().map_or(0, |(sequence, _)| *sequence);
        let path = self.path(run_id);
        let bytes = encode(newest.saturating_add(1), run_id, &state);
        replace_private(&path, &bytes).map_err(|source| at(&path, source))?;
        let files = self.files()?;
        let too_many = files.len().saturating_sub(RUNS_KEPT);
        for (_, oldest) in files.into_iter().take(too_many) {
            fs::remove_file(&oldest).map_err(|source| at(&oldest, source))?;
        }
        Ok(())
    }
}

fn at(path: &Path, source: std::io::Error) -> MemoryError {
    MemoryError::Io {
        path: path.display().to_string(),
        source,
    }
}

/// The sequence number in a file's first bytes.
fn sequence(path: &Path) -> Option<u64> {
    let mut head = [0; BODY];
    fs::File::open(path).ok()?.read_exact(&mut head).ok()?;
    let (magic, number) = head.split_at(MAGIC.len());
    (magic == MAGIC).then_some(())?;
    Some(u64::from_le_bytes(number.try_into().ok()?))
}

fn encode(sequence: u64, run_id: &str, state: &RunState) -> Vec<u8> {
    let values: usize = state.vectors().map(|(_, vector)| vector.len()).sum();
    let room: usize = state.places().map(|(_, length)| length).sum();
    let mut bytes = Vec::with_capacity(BODY + run_id.len() + 4 * (values + room) + 128);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&(run_id.len() as u32).to_le_bytes());
    bytes.extend_from_slice(run_id.as_bytes());
    bytes.push((state.vectors().len() + state.places().len()) as u8);
    for (kept, vector) in state.vectors() {
        bytes.push(kept.tag());
        bytes.extend_from_slice(&(vector.len() as u64).to_le_bytes());
        bytes.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
    }
    for (kept, length) in state.places() {
        bytes.push(kept.tag() + EMPTY);
        bytes.extend_from_slice(&(length as u64).to_le_bytes());
        bytes.resize(bytes.len() + 4 * length, 0);
    }
    let checksum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&checksum);
    bytes
}

fn decode(bytes: &[u8], run_id: &str) -> Result<RunState, &'static str> {
    const SHORT: &str = "it ends early";
    let length = bytes.len().checked_sub(CHECKSUM).ok_or(SHORT)?;
    let (content, checksum) = bytes.split_at(length);
    if Sha256::digest(content)[..] != *checksum {
        return Err("its checksum does not match");
    }
    let mut rest = content
        .strip_prefix(MAGIC)
        .ok_or("its first bytes are others")?;
    take(&mut rest, 8).ok_or(SHORT)?;
    let named = u32::from_le_bytes(array(&mut rest).ok_or(SHORT)?);
    if take(&mut rest, named as usize).ok_or(SHORT)? != run_id.as_bytes() {
        return Err("it belongs to another run");
    }
    let [count] = array(&mut rest).ok_or(SHORT)?;
    let mut state = RunState::default();
    for _ in 0..count {
        let [tag] = array(&mut rest).ok_or(SHORT)?;
        let kept = Kept::ALL.into_iter().find(|kept| kept.tag() == tag % EMPTY);
        let kept = kept.ok_or("it holds a vector of unknown kind")?;
        let length = u64::from_le_bytes(array(&mut rest).ok_or(SHORT)?);
        let length = usize::try_from(length).ok().and_then(|l| l.checked_mul(4));
        let values = take(&mut rest, length.ok_or(SHORT)?).ok_or(SHORT)?;
        let values = values.as_chunks::<4>().0.iter();
        if tag >= EMPTY {
            state.hold(kept, values.len());
            continue;
        }
        let values: Vec<f32> = values.map(|raw| f32::from_le_bytes(*raw)).collect();
        if values.iter().any(|value| !value.is_finite()) {
            return Err("a value is not finite");
        }
        state.set(kept, values);
    }
    if rest.is_empty() {
        Ok(state)
    } else {
        Err("it goes on behind its end")
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

fn array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    take(rest, N)?.try_into().ok()
}

#[cfg(test)]
#[path = "file_memory_tests.rs"]
mod tests;
