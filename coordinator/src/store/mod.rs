//! Durable metadata: small records in a closed list of tables, changed by atomic batches.
//!
//! ```text
//!  engine, services --- Batch ---> commit() --> bounded queue --> writer thread (one)
//!        |                                                          | checks every expectation
//!        |                                                          | one transaction per batch
//!        +--- get(), scan() <--- tables <---------------------------+ one flush per group
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
//!    batch survives the death of the process (`kill -9` included). [`SledStore`] does **not**
//!    promise to survive a power failure or a kernel crash: sled 0.34 asks the kernel to write
//!    (`sync_file_range`) without waiting for the disk's own cache.
//! 5. **Reads may run ahead.** `get` and `scan` may show a batch a moment before it is durable.
//!    Batches become durable in the order in which they were applied, so a decision that is itself
//!    committed is safe; don't act outside the process on a read alone.
//! 6. **Every call is answered.** Bad input, a full disk and a stopped writer are typed errors. After
//!    a failed read or write of the disk [`SledStore`] answers only [`StoreError::Unavailable`], and
//!    its folder can be opened again once the process has ended.
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
//! - `sled`, `writer`, `folder`, `schema`: the embedded implementation, its writer thread, its
//!   data folder, and its encoding

mod batch;
mod error;
mod folder;
pub mod key;
mod memory;
mod records;
mod schema;
mod sled;
mod table;
mod writer;

use std::future::Future;
use std::pin::Pin;

pub use self::batch::{
    Batch, CommitReceipt, Expect, MAX_BATCH_BYTES, MAX_KEY_BYTES, MAX_OPERATIONS, MAX_VALUE_BYTES,
    Operation, Versioned,
};
pub use self::error::StoreError;
pub use self::memory::MemoryStore;
pub use self::records::Records;
pub use self::schema::SCHEMA_VERSION;
pub use self::sled::SledStore;
pub use self::table::Table;

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
    /// acceptable, otherwise as [`Store::get`]. After [`StoreError::Io`] or [`StoreError::Full`]
    /// the outcome of the batch is unknown until the store is opened again.
    fn commit(&self, batch: Batch) -> CommitFuture;
}

impl dyn Store {
    /// All rows whose keys start with `prefix`, in key order, read page by page.
    pub fn records(&self, table: Table, prefix: &[u8]) -> Records<'_> {
        Records::new(self, table, prefix)
    }
}
