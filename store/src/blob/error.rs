//! Why the blob store refused.

use std::error::Error as StdError;
use std::io;

use super::Digest;

/// Everything that can go wrong in the blob store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// There is no blob of this digest.
    #[error("no object {digest} is kept here: check the digest, or ask for a newer one")]
    NotFound {
        /// The digest asked for.
        digest: Digest,
    },
    /// The stored bytes have another digest.
    #[error(
        "blob {digest} is damaged on the disk: its {size} bytes have the digest {found}; put its file \
         back from a backup"
    )]
    Corrupt {
        /// The digest asked for.
        digest: Digest,
        /// The digest of what is stored.
        found: Digest,
        /// Bytes stored.
        size: u64,
    },
    /// The disk has no room for the blob. Nothing of it was kept.
    #[error("disk full: {needed} bytes needed for a blob; free space and try again")]
    Full {
        /// Bytes of the blob.
        needed: u64,
    },
    /// The blob is larger than any blob may be.
    #[error("blob of {size} bytes: at most {limit}")]
    TooLarge {
        /// Bytes of the blob.
        size: u64,
        /// The most bytes accepted.
        limit: u64,
    },
    /// The range is not inside the blob.
    #[error(
        "range of {len} bytes from offset {offset} is not inside blob {digest} of {size} bytes"
    )]
    OutOfRange {
        /// The digest asked for.
        digest: Digest,
        /// First byte asked for.
        offset: u64,
        /// Bytes asked for.
        len: u64,
        /// Bytes of the blob.
        size: u64,
    },
    /// The storage below failed.
    #[error("input/output error while {during}: {message}")]
    Io {
        /// What the blob store was doing.
        during: &'static str,
        /// What the storage said.
        message: String,
    },
}

impl BlobError {
    /// An error of a write of `needed` bytes.
    pub(super) fn writing(needed: u64, error: &object_store::Error) -> Self {
        if is_disk_full(error) {
            return Self::Full { needed };
        }
        Self::Io {
            during: "writing a blob",
            message: error.to_string(),
        }
    }

    /// An error of a read of `digest`.
    pub(super) fn reading(digest: Digest, error: &object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::NotFound { digest },
            other => Self::Io {
                during: "reading a blob",
                message: other.to_string(),
            },
        }
    }
}

/// Whether the operating system's "no space left" (or "quota exceeded") is among the causes.
fn is_disk_full(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if let Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) = kind {
            return true;
        }
        cause = error.source();
    }
    false
}
