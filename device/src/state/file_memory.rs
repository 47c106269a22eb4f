//! Kept state in a folder, one file per run, readable by its owner only.
//!
//! A file (see the module `framed_file`) holds a sequence number (u64) that says which file changed last, the
//! run's id (u32 length, bytes), the number of vectors (u8), then for each its kind (u8), its length (u64)
//! and its `f32` values. A kind above 127 is a place with nothing in it yet: 128 less is the kind, and its
//! values are zeros.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::state::framed_file::{self, Checked, Content, put_text, replace_private, sealed};
use crate::state::memory::{DeviceMemory, Kept, MemoryError, RUNS_KEPT, RunState};

const MAGIC: &[u8; 16] = b"tributary-mem-v1";
const EXTENSION: &str = "run";
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
        framed_file::place(&self.folder, run_id, EXTENSION)
    }

    /// All files with their sequence numbers; one that has none comes first.
    fn files(&self) -> Result<Vec<(u64, PathBuf)>, MemoryError> {
        let files = framed_file::all(&self.folder, EXTENSION);
        let files = files.map_err(|source| at(&self.folder, source))?;
        let files = files.into_iter();
        let mut files: Vec<_> = files
            .map(|path| (sequence(&path).unwrap_or(0), path))
            .collect();
        files.sort();
        Ok(files)
    }
}

impl DeviceMemory for FileMemory {
    fn load(&self, run_id: &str) -> Result<RunState, MemoryError> {
        let path = self.path(run_id);
        let damaged = |problem| MemoryError::Damaged {
            path: path.display().to_string(),
            problem,
        };
        let read = framed_file::read(&path, LONGEST).map_err(|source| at(&path, source))?;
        match read {
            None => Ok(RunState::default()),
            Some(bytes) => bytes
                .and_then(|bytes| decode(&bytes, run_id))
                .map_err(damaged),
        }
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
    put_text(&mut bytes, run_id.as_bytes());
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
    sealed(bytes)
}

fn decode(bytes: &[u8], run_id: &str) -> Checked<RunState> {
    let mut content = Content::open(bytes, MAGIC)?;
    content.u64()?;
    if content.text()? != run_id.as_bytes() {
        return Err("it belongs to another run");
    }
    let [count] = content.array()?;
    let mut state = RunState::default();
    for _ in 0..count {
        let [tag] = content.array()?;
        let kept = Kept::ALL.into_iter().find(|kept| kept.tag() == tag % EMPTY);
        let kept = kept.ok_or("it holds a vector of unknown kind")?;
        let bytes = usize::try_from(content.u64()?).ok();
        let bytes = bytes.and_then(|length| length.checked_mul(4));
        let values = content.take(bytes.ok_or("a vector is longer than any")?)?;
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
    content.end()?;
    Ok(state)
}

#[cfg(test)]
#[path = "file_memory_tests.rs"]
mod tests;
