//! Content-addressed bytes: model versions, partial sums, builds.
//!
//! A blob's name is the SHA-256 digest of its bytes, so a blob never changes, a second `put` of the
//! same bytes is free, and every `get` can tell whether it read what was written. A blob is stored
//! at `blobs/ab/cdef…` (the digest in hexadecimal, split after two digits) of any
//! [`object_store`]: a local folder by default, memory for tests, S3 later.
//!
//! # Promises
//! 1. When [`BlobStore::put`] returns, the whole blob is stored: it was written beside its place
//!    and renamed. A full disk or a killed process leaves no half blob under a digest.
//! 2. [`BlobStore::get`] returns the bytes of that digest or a typed error, never other bytes.
//! 3. Like the metadata, what `put` stored survives a power failure: on a local disk the file and
//!    its folder are synced before it returns. A local folder is readable by its owner alone.
//!
//! Write a blob before the record that names it: a crash between the two leaves an unnamed blob,
//! never a name without its blob. [`BlobStore::keep_only`] sweeps such blobs at the next start.
//!
//! # Modules
//! - `content`: the store itself
//! - `error`: why it refused
//! - `folder`: one in a folder of the local disk, opened or looked at
//! - `local`: blobs as private, synced files
//! - `leftovers`: removes what a killed process left in a local folder
//! - `sweep`: removes blobs that no record names

mod content;
mod error;
mod folder;
mod leftovers;
mod local;
mod sweep;

pub use tributary_model::Digest;

pub use self::content::{BlobStore, MAX_BLOB_BYTES, Sink, Source};
pub use self::error::BlobError;
