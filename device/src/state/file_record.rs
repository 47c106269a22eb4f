//! Participations in a folder, one file per run, readable by its owner only.
//!
//! A file (see the module `framed_file`) holds the participations (u32), the last round (u32), the last attempt
//! (u32), the latest time (u64) and the run's id (u32 length, bytes). A file that is missing is a run that
//! the device never joined; one that is damaged is an error.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::state::framed_file::{self, Checked, Content, put_text, replace_private, sealed};
use crate::state::participation::Participations;
use crate::state::record::{MAX_RUNS_RECORDED, ParticipationRecord, RecordError};

const MAGIC: &[u8; 16] = b"tributary-rec-v1";
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
        framed_file::place(&self.folder, run_id, EXTENSION)
    }

    fn check_room(&self) -> Result<(), RecordError> {
        let files = framed_file::all(&self.folder, EXTENSION);
        let runs = files.map_err(|source| at(&self.folder, source))?.len();
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
        let damaged = |problem| RecordError::Damaged {
            path: path.display().to_string(),
            run_id: run_id.to_owned(),
            problem,
        };
        let read = framed_file::read(&path, LONGEST).map_err(|source| at(&path, source))?;
        match read {
            None => Ok(Participations::default()),
            Some(bytes) => bytes
                .and_then(|bytes| decode(&bytes, run_id))
                .map_err(damaged),
        }
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
    put_text(&mut bytes, run_id.as_bytes());
    sealed(bytes)
}

fn decode(bytes: &[u8], run_id: &str) -> Checked<Participations> {
    let mut content = Content::open(bytes, MAGIC)?;
    let participations = Participations {
        count: content.u32()?,
        round: content.u32()?,
        attempt: content.u32()?,
        at_ms: content.u64()?,
    };
    if content.text()? != run_id.as_bytes() {
        return Err("it belongs to another run");
    }
    content.end()?;
    Ok(participations)
}

#[cfg(test)]
#[path = "file_record_tests.rs"]
mod tests;
