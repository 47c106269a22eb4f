//! What an embedded engine must be able to do, and those that there are.
//!
//! - `kind`: their names
//! - `sled`, `redb`, `redb_disk`: what holds the bytes
//! - `view`: an engine's files, for real or as a view that leaves them as they are

mod kind;
pub(crate) mod redb;
mod redb_disk;
pub(crate) mod sled;
pub(crate) mod view;

use std::collections::BTreeMap;
use std::fmt;

use crate::disk::schema::Limits;
use crate::{StoreError, Table};

pub use self::kind::{DEFAULT_ENGINE, EngineKind, UnknownEngine};
pub use self::redb_disk::RedbDisk;

/// A table, a key, and the bytes stored there.
pub(crate) type StoredRow = (Table, Vec<u8>, Vec<u8>);

/// Keys and stored bytes of a table, in key order.
pub(crate) type RawRows = Vec<(Vec<u8>, Vec<u8>)>;

/// The records that a group of commits puts, or removes (`None`).
pub(crate) type Writes = BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>;

/// An open engine. It stores bytes and knows nothing of checksums, versions or expectations; reads
/// may come from any thread, writes from one.
pub(crate) trait Engine: Send + Sync + fmt::Debug {
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
