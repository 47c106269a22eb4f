//! Slots in a folder: `slot-a`, `slot-b` and the small file `active`, which is switched last.
//!
//! Every file is written beside its place, synced and renamed into it, so that a crash at any
//! moment leaves the old content or the new, never a mixture. The pointer carries digests: a slot
//! whose bytes don't have theirs is never used.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tributary_model::Digest;

use crate::install::slots::{BuildNote, SlotError, SlotStore, StoredBuild};

const POINTER: &str = "active";

/// Which of the two slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Slot {
    A,
    B,
}

impl Slot {
    const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    const fn file(self) -> &'static str {
        match self {
            Self::A => "slot-a",
            Self::B => "slot-b",
        }
    }
}

/// Content of the pointer file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pointer {
    slot: Slot,
    build: BuildNote,
    earlier: Option<BuildNote>,
}

/// The two steps that change a disk; a test breaks them one by one.
trait Disk: Send + Sync {
    fn write_synced(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()>;
    fn rename_synced(&self, from: &Path, to: &Path) -> std::io::Result<()>;
}

#[derive(Debug)]
struct RealDisk;

impl Disk for RealDisk {
    fn write_synced(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let mut file = fs::File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn rename_synced(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        fs::rename(from, to)?;
        match to.parent() {
            Some(folder) => fs::File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// Slots in a folder. Holds no bytes in memory.
pub struct FileSlots {
    folder: PathBuf,
    disk: Box<dyn Disk>,
    /// One writer at a time.
    writing: Mutex<()>,
}

impl FileSlots {
    /// Uses `folder`, which is made when it does not exist.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, SlotError> {
        Self::on(folder.into(), Box::new(RealDisk))
    }

    fn on(folder: PathBuf, disk: Box<dyn Disk>) -> Result<Self, SlotError> {
        fs::create_dir_all(&folder).map_err(|source| at(&folder, source))?;
        Ok(Self {
            folder,
            disk,
            writing: Mutex::new(()),
        })
    }

    fn pointer(&self) -> Result<Option<Pointer>, SlotError> {
        let path = self.folder.join(POINTER);
        let Some(bytes) = read(&path)? else {
            return Ok(None);
        };
        let pointer = serde_json::from_slice(&bytes).map_err(|error| SlotError::Damaged {
            problem: format!("{} can't be read: {error}", path.display()),
        })?;
        Ok(Some(pointer))
    }

    /// The build in `slot` when its bytes have the digest of `note`.
    fn load(&self, slot: Slot, note: &BuildNote) -> Result<Option<StoredBuild>, SlotError> {
        let bytes = read(&self.folder.join(slot.file()))?;
        Ok(bytes
            .filter(|bytes| Digest::of(bytes) == note.digest)
            .map(|bytes| StoredBuild {
                note: note.clone(),
                bytes: Bytes::from(bytes),
            }))
    }

    /// Writes beside the place, syncs, renames.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), SlotError> {
        let path = self.folder.join(name);
        let temporary = self.folder.join(format!("{name}.tmp"));
        self.disk
            .write_synced(&temporary, bytes)
            .map_err(|source| at(&temporary, source))?;
        self.disk
            .rename_synced(&temporary, &path)
            .map_err(|source| at(&path, source))
    }

    fn point_at(&self, pointer: &Pointer) -> Result<(), SlotError> {
        let json = serde_json::to_vec(pointer).map_err(|error| SlotError::Damaged {
            problem: error.to_string(),
        })?;
        self.replace(POINTER, &json)
    }

    fn earlier(&self, pointer: &Pointer) -> Result<Option<StoredBuild>, SlotError> {
        match &pointer.earlier {
            Some(note) => self.load(pointer.slot.other(), note),
            None => Ok(None),
        }
    }
}

impl SlotStore for FileSlots {
    fn active(&self) -> Result<Option<StoredBuild>, SlotError> {
        let Some(pointer) = self.pointer()? else {
            return Ok(None);
        };
        if let Some(build) = self.load(pointer.slot, &pointer.build)? {
            return Ok(Some(build));
        }
        match self.earlier(&pointer)? {
            Some(build) => Ok(Some(build)),
            None => Err(SlotError::Damaged {
                problem: format!("no slot holds build {}", pointer.build.digest),
            }),
        }
    }

    fn install(&self, build: &StoredBuild) -> Result<(), SlotError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        // A damaged pointer names nothing worth keeping.
        let before = self.pointer().unwrap_or(None);
        let (idle, earlier) = match before {
            None => (Slot::A, None),
            Some(pointer) => match self.load(pointer.slot, &pointer.build)? {
                Some(_) => (pointer.slot.other(), Some(pointer.build)),
                // the active slot is damaged: the other one may hold the only working build
                None => (pointer.slot, pointer.earlier),
            },
        };
        self.replace(idle.file(), &build.bytes)?;
        self.point_at(&Pointer {
            slot: idle,
            build: build.note.clone(),
            earlier,
        })
    }

    fn revert(&self) -> Result<StoredBuild, SlotError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let pointer = self.pointer()?.ok_or(SlotError::NothingToRevert)?;
        let earlier = self.earlier(&pointer)?.ok_or(SlotError::NothingToRevert)?;
        self.point_at(&Pointer {
            slot: pointer.slot.other(),
            build: earlier.note.clone(),
            earlier: Some(pointer.build),
        })?;
        Ok(earlier)
    }
}

fn at(path: &Path, source: std::io::Error) -> SlotError {
    SlotError::Io {
        path: path.display().to_string(),
        source,
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, SlotError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(at(path, source)),
    }
}

#[cfg(test)]
#[path = "file_slots_tests.rs"]
mod tests;
