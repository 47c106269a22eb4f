//! Participations in a folder, one file per run, readable by its owner only.
//!
//! A file is the magic text, the participations (u32), the last round (u32), the last attempt (u32),
//! the latest time (u64), the run's id (u32 length, bytes), and the SHA-256 of all before. All
//! numbers are little endian. Files are written beside their place, synced and renamed into it, and
//! the folder is synced. A file that is missing is a run that the device never joined; one that is
//! damaged is an error.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::participation::Participations;
use crate::record::{MAX_RUNS_RECORDED, ParticipationRecord, RecordError};
use crate::state_folder::replace_private;

const MAGIC: &[u8; 16] = b"tributary-rec-v1";
const CHECKSUM: usize = 32;
const EXTENSION: &str = "taken";
/// Longest file: ids have 64 characters at most.
const LONGEST: u64 = 1024;

/// Participations in files. Holds nothing in memory.
#[derive(Debug)]
pub struct FileRecord {
    folder: PathBuf,
    /// One writer at a time.
    writing: Mutex<()>,
}

impl FileRecord {
    /// Uses `folder`, which is made when it does not exist.
    ///
    /// # Errors
    /// When the folder can't be made.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, RecordError> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(|source| at(&folder, source))?;
        Ok(Self {
            folder,
            writing: Mutex::new(()),
        })
    }

    fn path(&self, run_id: &str) -> PathBuf {
        let name = hex::encode(&Sha256::digest(run_id)[..16]);
        self.folder.join(format!("{name}.{EXTENSION}"))
    }

    fn check_room(&self) -> Result<(), RecordError> {
        let mut runs = 0;
        for entry in fs::read_dir(&self.folder).map_err(|source| at(&self.folder, source))? {
            let path = entry.map_err(|source| at(&self.folder, source))?.path();
            runs += usize::from(path.extension().is_some_and(|found| found == EXTENSION));
        }
        if runs < MAX_RUNS_RECORDED {
            return Ok(());
        }
        Err(RecordError::Full {
            place: self.folder.display().to_string(),
        })
    }
}

impl ParticipationRecord for FileRecord {
    fn load(&self, run_id: &str) -> Result<Participations, RecordError> {
        let path = self.path(run_id);
        let length = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Participations::default());
            }
            Err(source) => return Err(at(&path, source)),
        };
        let damaged = |problem| RecordError::Damaged {
            path: path.display().to_string(),
            run_id: run_id.to_owned(),
            problem,
        };
        if length > LONGEST {
            return Err(damaged("it is too long"));
        }
        let bytes = fs::read(&path).map_err(|source| at(&path, source))?;
        decode(&bytes, run_id).map_err(damaged)
    }

    fn store(&self, run_id: &str, participations: &Participations) -> Result<(), RecordError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(run_id);
        if !path.try_exists().map_err(|source| at(&path, source))? {
            self.check_room()?;
        }
        let bytes = encode(participations, run_id);
        replace_private(&path, &bytes).map_err(|source| at(&path, source))
    }
}

fn at(path: &Path, source: std::io::Error) -> RecordError {
    RecordError::Io {
        path: path.display().to_string(),
        source,
    }
}

fn encode(participations: &Participations, run_id: &str) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&participations.count.to_le_bytes());
    bytes.extend_from_slice(&participations.round.to_le_bytes());
    bytes.extend_from_slice(&participations.attempt.to_le_bytes());
    bytes.extend_from_slice(&participations.at_ms.to_le_bytes());
    bytes.extend_from_slice(&(run_id.len() as u32).to_le_bytes());
    bytes.extend_from_slice(run_id.as_bytes());
    let checksum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&checksum);
    bytes
}

fn decode(bytes: &[u8], run_id: &str) -> Result<Participations, &'static str> {
    const SHORT: &str = "it ends early";
    let length = bytes.len().checked_sub(CHECKSUM).ok_or(SHORT)?;
    let (content, checksum) = bytes.split_at(length);
    if Sha256::digest(content)[..] != *checksum {
        return Err("its checksum does not match");
    }
    let mut rest = content
        .strip_prefix(MAGIC)
        .ok_or("its first bytes are others")?;
    let mut number = || array(&mut rest).map(u32::from_le_bytes).ok_or(SHORT);
    let (count, round, attempt) = (number()?, number()?, number()?);
    let at_ms = u64::from_le_bytes(array(&mut rest).ok_or(SHORT)?);
    let named = u32::from_le_bytes(array(&mut rest).ok_or(SHORT)?);
    if named as usize != rest.len() || rest != run_id.as_bytes() {
        return Err("it belongs to another run");
    }
    Ok(Participations {
        count,
        round,
        attempt,
        at_ms,
    })
}

fn array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
#[path = "file_record_tests.rs"]
mod tests;
