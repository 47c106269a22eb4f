//! Durable metadata: small records in a closed list of tables, changed by atomic batches.
//!
//! ```text
//!  engine, services --- Batch ---> commit() --> bounded queue --> writer thread (one)
//!        |                                                          | checks every expectation
//!        |                                                          | one transaction per group
//!        +--- get(), scan() <--- tables <---------------------------+ one sync per group
//!                                                                   | then the anchor
//!                                                                   +--> receipts
//! ```
//!
//! # What every implementation promises
//! 1. **All or nothing.** The operations of a [`Batch`] become visible together, across tables, or
//!    not at all. A page returned by [`Store::scan`] never shows half a batch.
//! 2. **Compare and swap.** Each operation states what it [`Expect`]s; one failed expectation
//!    refuses the whole batch with [`StoreError::Conflict`] and changes nothing.
//! 3. **Versions never repeat.** A commit has a number, larger than every earlier one, and gives it
//!    to all the records it puts. A record deleted and put again has another version.
//! 4. **Durable when answered.** Once the future of [`Store::commit`] resolves to a receipt, the
//!    batch survives `kill -9`, a kernel crash and a power failure: the engine's files were synced
//!    and the anchor after them. What a failing disk takes nevertheless is recognised at the next
//!    open, which then refuses and changes nothing (see `anchor` and `embedded`).
//! 5. **Reads may run ahead.** `get` and `scan` may show a batch a moment before it is durable.
//!    Batches become durable in the order in which they were applied, so a decision that is itself
//!    committed is safe; don't act outside the process on a read alone.
//! 6. **Every call is answered.** Bad input, a full disk and a stopped writer are typed errors. A full
//!    disk changes nothing and later commits are tried again. After any other failed read or write of
//!    the disk [`EmbeddedStore`] answers only [`StoreError::Unavailable`], and its folder can be
//!    opened again once the process has ended.
//!
//! Keys are built with [`key::Key`]: they sort by their parts, numbers big-endian. Values are at
//! most [`MAX_VALUE_BYTES`]; anything larger belongs in the blob store.
//!
//! # Modules
//! - `batch`: what a commit is made of, and the limits it is checked against
//! - `table`: the closed list of tables
//! - [`key`]: composite keys that sort as their parts do
//! - `records`: an iterator that pages through a prefix
//! - `error`: why the store refused
//! - `memory`: the implementation for tests and simulations
//! - `embedded`, `shared`: the implementation on a local disk, what an open proves, what is shared
//! - `view`: an engine's files, for real or as a view that leaves them as they are
//! - `engine`, `sled`, `redb`, `redb_disk`: what holds the bytes
//! - `anchor`: what was acknowledged last, kept outside the engine
//! - `checksum`, `schema`: checksums, and how records and the header are written
//! - `staging`, `writer`: groups of commits, and the thread that writes them
//! - `proof`: reads everything and compares it with the anchor
//! - `folder`, `format`, `files`: the data folder, and files that are private and synced
//! - `check`, `repair`, `migrate`, `upgrade`: what an operator does, and folders of format 1
//! - `build`: a database that is made beside the one in use
//! - `whole`: a commit together with what it changes in memory

mod anchor;
mod batch;
mod build;
mod check;
mod checksum;
mod embedded;
mod engine;
mod error;
pub(crate) mod files;
mod folder;
mod format;
pub mod key;
mod memory;
mod migrate;
mod proof;
mod records;
mod redb;
mod redb_disk;
mod repair;
mod schema;
mod shared;
mod sled;
mod staging;
mod table;
mod upgrade;
mod view;
mod whole;
mod writer;

use std::future::Future;
use std::pin::Pin;

pub use self::anchor::AnchorFile;
pub use self::batch::{
    Batch, CommitReceipt, Expect, MAX_BATCH_BYTES, MAX_KEY_BYTES, MAX_OPERATIONS, MAX_VALUE_BYTES,
    Operation, Versioned,
};
pub use self::check::{DamagedRecord, Inspected, StoreReport, inspect};
pub use self::embedded::EmbeddedStore;
pub use self::engine::{DEFAULT_ENGINE, EngineKind, UnknownEngine};
pub use self::error::StoreError;
pub use self::memory::MemoryStore;
pub use self::migrate::{Migration, migrate};
pub use self::records::Records;
pub use self::redb_disk::RedbDisk;
pub use self::repair::{REPAIR_KEY, Repair, RepairNote, repair};
pub use self::schema::SCHEMA_VERSION;
pub use self::table::Table;
pub(crate) use self::whole::commit_then;

/// One row of a scan: a key and its record.
pub type Row = (Vec<u8>, Versioned);

/// The future of a commit. It owns all it needs, so it may be spawned.
pub type CommitFuture =
    Pin<Box<dyn Future<Output = Result<CommitReceipt, StoreError>> + Send + 'static>>;

/// Metadata storage with atomic compare-and-swap batches. The module page lists the promises.
pub trait Store: Send + Sync + 'static {
    /// The record at `key`, or `None`.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Corrupt`], or [`StoreError::Unavailable`] once the store
    /// has stopped after a failure.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Versioned>, StoreError>;

    /// At most `limit` rows whose keys start with `prefix` and sort after `after`, in key order.
    /// One call sees one state of the table; two calls may see two.
    ///
    /// # Errors
    /// As [`Store::get`].
    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;

    /// Applies `batch`; durable when the future resolves. Nothing happens before the first poll;
    /// a future dropped after that may or may not have had its effect.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if an expectation failed, the limit errors if the batch is not
    /// acceptable, [`StoreError::Full`] if the disk has no room (nothing was changed), otherwise as
    /// [`Store::get`]. After [`StoreError::Unavailable`] the outcome of the batch is unknown until
    /// the store is opened again.
    fn commit(&self, batch: Batch) -> CommitFuture;

    /// Why the store has stopped for good, if it has: every later call is refused, and only opening it
    /// again, in another process, goes on.
    fn failure(&self) -> Option<StoreError>;
}

impl dyn Store {
    /// All rows whose keys start with `prefix`, in key order, read page by page.
    pub fn records(&self, table: Table, prefix: &[u8]) -> Records<'_> {
        Records::new(self, table, prefix)
    }
}
