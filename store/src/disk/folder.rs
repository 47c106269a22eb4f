//! The data folder of the embedded store: who may open it, and whether it is ours.
//!
//! ```text
//! FOLDER/LOCK     held by the process that uses the folder, which holds the folder itself as well
//! FOLDER/FORMAT   which layout and which engine, see `format`
//! FOLDER/anchor   what was acknowledged last, see `anchor`
//! FOLDER/db/      sled's files
//! FOLDER/redb/    redb's file
//! FOLDER/probe/, FOLDER/probe-source/   copies that are being looked at; removed by the next open
//! FOLDER/building/   a database that is being built by an upgrade, a migration or a repair
//! FOLDER/db.format-1/   the files of format 1, until its upgrade is proven
//! ```
//! `FORMAT` is read before an engine touches anything, so that a folder of another program or
//! another version is left exactly as it was.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::EngineKind;
use crate::StoreError;
use crate::disk::files::{self, LocalAnchor};
use crate::disk::format::{ANCHOR, FORMAT, Format, NEW_FORMAT};

const LOCK: &str = "LOCK";
const PROBE: &str = "probe";
const SECOND_PROBE: &str = "probe-source";
const BUILDING: &str = "building";
const FIRST_FORMAT: &str = "db.format-1";
/// Everything that this module puts into a store's folder.
const OURS: [&str; 10] = [
    LOCK,
    FORMAT,
    NEW_FORMAT,
    ANCHOR,
    PROBE,
    SECOND_PROBE,
    BUILDING,
    FIRST_FORMAT,
    EngineKind::Sled.folder(),
    EngineKind::Redb.folder(),
];

/// A folder that is ours and that no other process uses. The lock lasts as long as the value.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    format: Format,
    _locks: [File; 2],
}

impl Folder {
    /// Creates the folder if needed and claims it.
    pub(crate) fn claim(path: &Path) -> Result<Self, StoreError> {
        refuse_foreign(path)?;
        files::private_folder(path).map_err(|error| opening(&error))?;
        Self::claim_existing(path)
    }

    /// Claims a folder that is there.
    pub(crate) fn claim_existing(path: &Path) -> Result<Self, StoreError> {
        refuse_foreign(path)?;
        let locks = lock(path)?;
        let folder = Self {
            path: path.to_owned(),
            format: Format::read(path)?,
            _locks: locks,
        };
        folder.refuse_without_format()?;
        Ok(folder)
    }

    /// Claims a folder whose format may be damaged or gone.
    pub(crate) fn claim_damaged(path: &Path) -> Result<Self, StoreError> {
        refuse_foreign(path)?;
        let locks = lock(path)?;
        Ok(Self {
            path: path.to_owned(),
            format: Format::read(path).unwrap_or(Format::Absent),
            _locks: locks,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What it says it holds.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Says what it holds from now on.
    pub(crate) fn set_format(&mut self, format: Format) -> Result<(), StoreError> {
        format.write(&self.path)?;
        self.format = format;
        Ok(())
    }

    /// Where an engine keeps its files.
    pub(crate) fn database(&self, engine: EngineKind) -> PathBuf {
        self.path.join(engine.folder())
    }

    /// Where a copy goes that is only looked at.
    pub(crate) fn probe(&self) -> PathBuf {
        self.path.join(PROBE)
    }

    /// Where a second copy goes, while another one is looked at.
    pub(crate) fn second_probe(&self) -> PathBuf {
        self.path.join(SECOND_PROBE)
    }

    /// Where a database is built before it takes its place.
    pub(crate) fn building(&self) -> PathBuf {
        self.path.join(BUILDING)
    }

    /// Where the files of format 1 stay while they are upgraded.
    pub(crate) fn first_format(&self) -> PathBuf {
        self.path.join(FIRST_FORMAT)
    }

    /// The anchor's file.
    pub(crate) fn anchor_path(&self) -> PathBuf {
        self.path.join(ANCHOR)
    }

    /// The anchor's file, as a medium.
    pub(crate) fn anchor(&self) -> Box<LocalAnchor> {
        Box::new(LocalAnchor::new(self.anchor_path()))
    }

    /// A store writes `FORMAT` before anything else, so without it there can be nothing else.
    fn refuse_without_format(&self) -> Result<(), StoreError> {
        if self.format != Format::Absent {
            return Ok(());
        }
        for name in OURS {
            let is_data = ![LOCK, NEW_FORMAT].contains(&name);
            if is_data && self.path.join(name).exists() {
                return Err(StoreError::corrupt(
                    &self.path,
                    format!("it has {name:?} but no file {FORMAT:?}"),
                ));
            }
        }
        Ok(())
    }
}

/// Takes the locks of a folder; they last as long as the files. The second one is on the folder itself: it
/// stays when somebody removes the file of the first.
fn lock(path: &Path) -> Result<[File; 2], StoreError> {
    let file = files::private_file(&path.join(LOCK)).map_err(|error| opening(&error))?;
    let folder = File::open(path).map_err(|error| opening(&error))?;
    let locked = || StoreError::Locked {
        folder: path.to_owned(),
    };
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => locked(),
        TryLockError::Error(error) => opening(&error),
    })?;
    match folder.try_lock() {
        Err(TryLockError::WouldBlock) => return Err(locked()),
        // some file systems of other machines lock files only
        Err(TryLockError::Error(error)) => {
            tracing::debug!(%error, "the folder itself can't be locked")
        }
        Ok(()) => {}
    }
    Ok([file, folder])
}

fn opening(error: &io::Error) -> StoreError {
    let during = "opening the data folder";
    match error.kind() {
        kind @ io::ErrorKind::ReadOnlyFilesystem => StoreError::Io {
            during,
            kind,
            message: format!(
                "{error}; a lock and copies to look at are written beside the metadata, so copy the data \
                 folder to a disk that can be written and name the copy"
            ),
        },
        _ => StoreError::from_io(during, error),
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
        if !OURS.iter().any(|known| name == *known) {
            return Err(foreign(&name));
        }
    }
    Ok(())
}
