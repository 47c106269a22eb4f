//! The data folder of the embedded store: who may open it, and whether it is ours.
//!
//! ```text
//! FOLDER/LOCK     held by the process that uses the folder
//! FOLDER/FORMAT   "tributary-store 1", written once the database is initialised
//! FOLDER/db/      sled's files
//! ```
//! `FORMAT` is read before sled touches anything, so that a folder of another program or another
//! version is left exactly as it was.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::StoreError;
use super::schema::SCHEMA_VERSION;

const LOCK: &str = "LOCK";
const FORMAT: &str = "FORMAT";
const NEW_FORMAT: &str = "FORMAT.new";
const DATABASE: &str = "db";
const MAGIC: &str = "tributary-store ";
/// A format file is a few bytes; a longer one is not ours.
const MAX_FORMAT_BYTES: u64 = 64;

/// A folder that is ours and that no other process uses. The lock lasts as long as the value.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    has_format: bool,
    _lock: File,
}

impl Folder {
    /// Creates the folder if needed and claims it.
    pub(super) fn claim(path: &Path) -> Result<Self, StoreError> {
        let opening = |error: io::Error| StoreError::from_io("opening the data folder", &error);
        refuse_foreign(path)?;
        fs::create_dir_all(path).map_err(opening)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK))
            .map_err(opening)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StoreError::Locked {
                folder: path.to_owned(),
            },
            TryLockError::Error(error) => opening(error),
        })?;
        let has_format = read_format(path)?;
        if has_format && !path.join(DATABASE).is_dir() {
            return Err(corrupt(path, "its folder db is missing".to_owned()));
        }
        Ok(Self {
            path: path.to_owned(),
            has_format,
            _lock: lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where sled keeps its files.
    pub(super) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// Whether an earlier open got as far as initialising the database.
    pub(super) fn is_initialised(&self) -> bool {
        self.has_format
    }

    /// Records that the database is initialised.
    pub(super) fn mark_initialised(&mut self) -> Result<(), StoreError> {
        let temporary = self.path.join(NEW_FORMAT);
        File::create(&temporary)
            .and_then(|mut file| {
                writeln!(file, "{MAGIC}{SCHEMA_VERSION}")?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&temporary, self.path.join(FORMAT)))
            .map_err(|error| StoreError::from_io("writing the format of the folder", &error))?;
        self.has_format = true;
        Ok(())
    }
}

pub(super) fn corrupt(folder: &Path, detail: String) -> StoreError {
    StoreError::Corrupt {
        folder: folder.to_owned(),
        detail,
    }
}

/// Refuses a folder that holds anything this module did not put there.
fn refuse_foreign(path: &Path) -> Result<(), StoreError> {
    let foreign = |found: &OsStr| StoreError::Foreign {
        folder: path.to_owned(),
        found: found.to_string_lossy().into_owned(),
    };
    let reading = |error: io::Error| StoreError::from_io("reading the data folder", &error);
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(foreign(OsStr::new("a file, not a folder")));
        }
        Err(error) => return Err(reading(error)),
    };
    for entry in entries {
        let name = entry.map_err(reading)?.file_name();
        if ![LOCK, FORMAT, NEW_FORMAT, DATABASE]
            .iter()
            .any(|known| name == *known)
        {
            return Err(foreign(&name));
        }
    }
    Ok(())
}

/// Whether the folder says that it has our format; an error if it says anything else.
fn read_format(path: &Path) -> Result<bool, StoreError> {
    let file = path.join(FORMAT);
    let reading =
        |error: io::Error| StoreError::from_io("reading the format of the folder", &error);
    let foreign = || StoreError::Foreign {
        folder: path.to_owned(),
        found: FORMAT.to_owned(),
    };
    match fs::metadata(&file) {
        Ok(metadata) if metadata.len() > MAX_FORMAT_BYTES => return Err(foreign()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(reading(error)),
    }
    let text = String::from_utf8(fs::read(&file).map_err(reading)?).map_err(|_| foreign())?;
    let found = text
        .strip_prefix(MAGIC)
        .and_then(|version| version.trim_end().parse().ok());
    match found {
        Some(SCHEMA_VERSION) => Ok(true),
        Some(found) => Err(StoreError::OtherVersion {
            folder: path.to_owned(),
            found,
            supported: SCHEMA_VERSION,
        }),
        None => Err(foreign()),
    }
}
