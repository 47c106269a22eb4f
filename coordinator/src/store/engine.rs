//! What an embedded engine must be able to do, and which there are.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::schema::Limits;
use super::{StoreError, Table};

/// An embedded database that can hold the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// sled 0.34, in the folder `db`.
    Sled,
    /// redb 4, in the folder `redb`.
    Redb,
}

/// The engine of a new store when none is named.
pub const DEFAULT_ENGINE: EngineKind = EngineKind::Sled;

impl EngineKind {
    /// Every engine.
    pub const ALL: [Self; 2] = [Self::Sled, Self::Redb];

    /// Its name in settings and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Redb => "redb",
        }
    }

    /// The engine whose files lie in `folder`, if they are any engine's.
    pub(super) fn of_files(folder: &Path) -> Option<Self> {
        let holds = |name: &str| folder.join(name).is_file();
        match (holds("store.redb"), holds("conf") || holds("db")) {
            (true, _) => Some(Self::Redb),
            (false, true) => Some(Self::Sled),
            (false, false) => None,
        }
    }

    /// Its folder below the store's.
    pub(super) const fn folder(self) -> &'static str {
        match self {
            Self::Sled => "db",
            Self::Redb => "redb",
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A name that no engine has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a storage engine: use sled or redb")]
pub struct UnknownEngine(String);

impl FromStr for EngineKind {
    type Err = UnknownEngine;

    fn from_str(name: &str) -> Result<Self, UnknownEngine> {
        let known = Self::ALL.into_iter().find(|engine| engine.name() == name);
        known.ok_or_else(|| UnknownEngine(name.chars().take(40).collect()))
    }
}

/// A table, a key, and the bytes stored there.
pub(super) type StoredRow = (Table, Vec<u8>, Vec<u8>);

/// Keys and stored bytes of a table, in key order.
pub(super) type RawRows = Vec<(Vec<u8>, Vec<u8>)>;

/// The records that a group of commits puts, or removes (`None`).
pub(super) type Writes = BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>;

/// An open engine. It stores bytes and knows nothing of checksums, versions or expectations; reads
/// may come from any thread, writes from one.
pub(super) trait Engine: Send + Sync + fmt::Debug {
    /// The bytes at `key`.
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` rows within `limits`, of one state of the table between two writes.
    fn scan(&self, table: Table, limits: Limits, limit: usize) -> Result<RawRows, StoreError>;

    /// The bytes of the header; `None` if none was ever written.
    fn header(&self) -> Result<Option<Vec<u8>>, StoreError>;

    /// Makes sure that about `bytes` more can be written. [`StoreError::Full`] if not; nothing has
    /// changed then.
    fn reserve(&self, bytes: u64) -> Result<(), StoreError>;

    /// Writes all of `writes` and the header, together or not at all, and returns when they survive
    /// a power failure. After an error either may be the case until [`Engine::reopen`].
    fn write(&self, writes: &Writes, header: &[u8]) -> Result<(), StoreError>;

    /// After an error of [`Engine::write`]: opens the files again, as after a crash.
    fn reopen(&self) -> Result<(), StoreError>;
}
