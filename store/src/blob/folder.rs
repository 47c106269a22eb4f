//! Blobs in a folder of the local disk: opened, looked at.

use std::io;
use std::path::Path;
use std::sync::Arc;

use object_store::local::LocalFileSystem;

use super::content::FOLDER;
use super::{BlobError, BlobStore, leftovers, local};

impl BlobStore {
    /// Blobs in `folder/blobs`, created if missing, readable by their owner alone. Removes unfinished
    /// files of an earlier process, so no other process may be writing there: open the metadata store,
    /// which holds the lock, first. Blocks.
    ///
    /// # Errors
    /// [`BlobError::Full`] or [`BlobError::Io`].
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, BlobError> {
        let opening = |error: io::Error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                BlobError::Full { needed: 0 }
            }
            _ => BlobError::Io {
                during: "opening the blob folder",
                message: error.to_string(),
            },
        };
        let folder = folder.as_ref();
        let blobs = folder.join(FOLDER);
        local::prepare(folder, &blobs).map_err(opening)?;
        let removed = leftovers::remove(&blobs).map_err(opening)?;
        if removed > 0 {
            tracing::info!(removed, "removed unfinished blobs of an earlier process");
        }
        let objects = LocalFileSystem::new_with_prefix(folder).map_err(|error| BlobError::Io {
            during: "opening the blob folder",
            message: error.to_string(),
        })?;
        let objects = Arc::new(objects.with_fsync(true));
        Ok(Self::on_disk(objects, blobs.into()))
    }

    /// Blobs in `folder/blobs` that are only looked at: nothing is created, mended or removed.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn look(folder: impl AsRef<Path>) -> Result<Self, BlobError> {
        let folder = folder.as_ref();
        if !folder.is_dir() {
            return Ok(Self::in_memory());
        }
        let objects = LocalFileSystem::new_with_prefix(folder).map_err(|error| BlobError::Io {
            during: "opening the blob folder",
            message: error.to_string(),
        })?;
        Ok(Self::new(Arc::new(objects)))
    }

    /// Whether `folder` holds any blob. Changes nothing. Blocks.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn is_used(folder: impl AsRef<Path>) -> Result<bool, BlobError> {
        local::has_files(&folder.as_ref().join(FOLDER)).map_err(|error| BlobError::Io {
            during: "looking into the blob folder",
            message: error.to_string(),
        })
    }
}
