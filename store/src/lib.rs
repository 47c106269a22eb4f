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
//! - `metadata`: the trait, and an iterator that pages through a prefix
//! - `batch`, `expect`: what a commit is made of, and the limits it is checked against
//! - `table`: the closed list of tables
//! - [`key`]: composite keys that sort as their parts do
//! - `error`: why the store refused
//! - `memory`: the implementation for tests and simulations
//! - `embedded`: the implementation on a local disk
//! - `engine`: the embedded databases that hold the bytes
//! - `disk`: what stands beside them: folder, anchor, checksums
//! - `upkeep`: check, repair, migrate, upgrade
//! - [`blob`]: content-addressed bytes: weights, partial sums, builds

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod batch;
pub mod blob;
mod disk;
mod embedded;
mod engine;
mod error;
mod expect;
pub mod key;
mod memory;
mod metadata;
mod table;
mod upkeep;

pub use self::batch::{
    Batch, CommitReceipt, MAX_BATCH_BYTES, MAX_KEY_BYTES, MAX_OPERATIONS, MAX_VALUE_BYTES,
    Operation, Versioned,
};
pub use self::disk::anchor::AnchorFile;
pub use self::disk::schema::SCHEMA_VERSION;
pub use self::embedded::EmbeddedStore;
pub use self::engine::{DEFAULT_ENGINE, EngineKind, RedbDisk, UnknownEngine};
pub use self::error::StoreError;
pub use self::expect::Expect;
pub use self::memory::MemoryStore;
pub use self::metadata::{CommitFuture, Records, Row, Store};
pub use self::table::Table;
pub use self::upkeep::{
    DamagedRecord, Inspected, Migration, REPAIR_KEY, Repair, RepairNote, StoreReport, inspect,
    migrate, repair,
};
