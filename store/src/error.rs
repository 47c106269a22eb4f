//! Why the store refused.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::doubt::Doubt;
use crate::{EngineKind, Expect, Table};

/// Everything that can go wrong in the store. Cloneable, because one failed flush answers every
/// commit that shared it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A record was not as the batch expected; nothing was changed. Read it again and retry.
    #[error("conflict in table {table}: expected {expected}, found {}", .found.map_or_else(|| "no record".to_owned(), |version| format!("version {version}")))]
    Conflict {
        /// Table of the record.
        table: Table,
        /// Key of the record. Not printed: it may name a device.
        key: Vec<u8>,
        /// What the operation expected.
        expected: Expect,
        /// The version that stood there, if any.
        found: Option<u64>,
    },
    /// A key is empty or too long.
    #[error("key of {size} bytes in table {table}: keys have 1 to {limit} bytes")]
    KeySize {
        /// Table of the record.
        table: Table,
        /// Bytes of the key.
        size: usize,
        /// The most bytes accepted.
        limit: usize,
    },
    /// A value is too large for a metadata store.
    #[error("value of {size} bytes in table {table}: at most {limit}; put it in the blob store")]
    ValueTooLarge {
        /// Table of the record.
        table: Table,
        /// Bytes of the value.
        size: usize,
        /// The most bytes accepted.
        limit: usize,
    },
    /// A batch has too many operations or bytes.
    #[error(
        "batch of {operations} operations and {bytes} bytes: at most {max_operations} operations \
         and {max_bytes} bytes; split it"
    )]
    BatchTooLarge {
        /// Operations in the batch.
        operations: usize,
        /// Bytes of all keys and values.
        bytes: usize,
        /// The most operations accepted.
        max_operations: usize,
        /// The most bytes accepted.
        max_bytes: usize,
    },
    /// A batch names the same record twice, so its meaning would depend on the order.
    #[error("the batch names one key of table {table} twice; merge the two operations")]
    DuplicateKey {
        /// Table of the record.
        table: Table,
    },
    /// A value could not be written as or read from JSON.
    #[error("a value is not the JSON its reader expects: {message}")]
    Encoding {
        /// What the JSON reader or writer said.
        message: String,
    },
    /// The coordinator is halted: its folder is older than what devices have seen.
    #[error("{reason}")]
    Halted {
        /// Why, as a sentence with the remedy.
        reason: String,
    },
    /// The disk has no room left. Nothing was changed, and the store goes on: try again once there
    /// is room.
    #[error("disk full while {during}: nothing of it was kept; free space and try again")]
    Full {
        /// What the store was doing.
        during: &'static str,
    },
    /// The operating system refused a read or a write.
    #[error("input/output error while {during}: {message}")]
    Io {
        /// What the store was doing.
        during: &'static str,
        /// The class of the error.
        kind: io::ErrorKind,
        /// What the operating system said.
        message: String,
    },
    /// Stored bytes are not what this program wrote.
    #[error("the store in {} is damaged: {detail}. Nothing was changed. {}", folder.display(), remedy(folder))]
    Corrupt {
        /// The data folder (empty for the memory store).
        folder: PathBuf,
        /// What was found.
        detail: String,
    },
    /// What was acknowledged is not all there, or can't be proven to be.
    #[error("the store in {} can't be trusted: {detail}. Nothing was changed. {}", folder.display(), remedy(folder))]
    Lost {
        /// The store's folder.
        folder: PathBuf,
        /// What is missing.
        detail: String,
    },
    /// Nothing of the database can be read.
    #[error(
        "nothing of the database in {} can be read, so nothing was changed and nothing can be repaired: only \
         a backup helps. Put one of the whole data folder back and run `tributary restore --data {}`",
        folder.display(), data_folder(folder).display()
    )]
    BeyondRepair {
        /// The store's folder.
        folder: PathBuf,
    },
    /// The metadata is gone, while what it names is there.
    #[error(
        "the metadata in {} is gone: it is missing or empty, while {} holds files. Nothing was changed, and \
         nothing can be repaired: put a backup of the whole data folder back and run `tributary restore \
         --data {}`; without one the models are still there as files below {}, and a coordinator begins \
         anew in an empty folder",
        folder.display(), beside.display(), data_folder(folder).display(), beside.display()
    )]
    Gone {
        /// The store's folder.
        folder: PathBuf,
        /// Where files are that it named.
        beside: PathBuf,
    },
    /// Another engine holds the folder's records.
    #[error(
        "the store in {} is held by {found}, not {wanted}: start without naming an engine, or run \
         `tributary store migrate --data {} --to {wanted}`",
        folder.display(),
        data_folder(folder).display()
    )]
    OtherEngine {
        /// The store's folder.
        folder: PathBuf,
        /// The engine found.
        found: EngineKind,
        /// The engine asked for.
        wanted: EngineKind,
    },
    /// The folder holds something else.
    #[error(
        "{} is not a Tributary store: it holds {found:?}; choose an empty or a new folder",
        folder.display()
    )]
    Foreign {
        /// The folder that was given.
        folder: PathBuf,
        /// An entry that does not belong there.
        found: String,
    },
    /// The folder was written by another version of the program.
    #[error(
        "the store in {} has format {found}, this program reads format {supported}: use the \
         version of Tributary that wrote it, or choose a new folder",
        folder.display()
    )]
    OtherVersion {
        /// The data folder.
        folder: PathBuf,
        /// The version found.
        found: u32,
        /// The version this program reads and writes.
        supported: u32,
    },
    /// Another process uses the folder.
    #[error(
        "the store in {} is in use by another process: stop it, or choose another folder",
        folder.display()
    )]
    Locked {
        /// The data folder.
        folder: PathBuf,
    },
    /// An earlier failure left the outcome of a write unknown; the store answers nothing else until
    /// it is opened again.
    #[error("the store stopped after a failure ({reason}): start the coordinator again")]
    Unavailable {
        /// The failure that stopped it.
        reason: String,
    },
    /// The store is being closed.
    #[error("the store is closed")]
    Closed,
}

/// The data folder of a store's folder.
fn data_folder(store: &Path) -> &Path {
    store.parent().unwrap_or(store)
}

/// What an operator does about a store that was damaged or rolled back.
fn remedy(store: &Path) -> String {
    let data = data_folder(store).display();
    format!(
        "Look with `tributary store check --data {data}`; then put a backup back and run `tributary \
         restore --data {data}`, or save what is left with `tributary store repair --data {data}`"
    )
}

impl StoreError {
    /// The stable code; `docs/errors.md` explains each.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Corrupt { .. }
            | Self::Lost { .. }
            | Self::Gone { .. }
            | Self::BeyondRepair { .. } => "TRB-0501",
            Self::OtherEngine { .. } => "TRB-0502",
            Self::Full { .. } => "TRB-0503",
            Self::Halted { .. } => "TRB-0520",
            _ => "TRB-0500",
        }
    }

    /// Whether the caller may read again and retry: true for conflicts only.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }

    /// Whether the one record that was asked for is damaged; other records may be well.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Encoding { .. } | Self::Corrupt { .. })
    }

    /// Names what was being done when the operating system refused.
    pub(crate) fn from_io(during: &'static str, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { during },
            kind => Self::Io {
                during,
                kind,
                message: error.to_string(),
            },
        }
    }

    /// Names what was being done when sled refused.
    pub(crate) fn from_sled(folder: &Path, during: &'static str, error: &::sled::Error) -> Self {
        match error {
            // sled clones its errors by kind and text; the kind survives
            ::sled::Error::Io(error) => Self::from_io(during, error),
            other => Self::Corrupt {
                folder: folder.to_owned(),
                detail: format!("while {during}: {other}"),
            },
        }
    }

    /// Stored bytes of the store in `folder` are not what this program wrote.
    pub(crate) fn corrupt(folder: &Path, detail: String) -> Self {
        Self::Corrupt {
            folder: folder.to_owned(),
            detail,
        }
    }

    /// Names why engine and anchor don't fit.
    pub(crate) fn in_doubt(folder: &Path, doubt: &Doubt) -> Self {
        Self::Lost {
            folder: folder.to_owned(),
            detail: doubt.to_string(),
        }
    }

    /// The store stopped because of `cause`.
    pub(crate) fn unavailable(cause: &Self) -> Self {
        match cause {
            Self::Unavailable { .. } => cause.clone(),
            _ => Self::Unavailable {
                reason: cause.to_string(),
            },
        }
    }
}
