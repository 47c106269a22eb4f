//! Blobs that are given out: model versions, control variates, builds. What is damaged on the disk is
//! found before devices get it, and named.
//!
//! A small object is checked whenever it is read, and kept in memory for a fleet that asks for it. A
//! large one is read piece by piece; it is checked as a whole when it is first asked for since the
//! start, and again when a device could not fetch what its assignment names.

use bytes::Bytes;
use tributary_model::Digest;

use crate::CoordinatorError;
use crate::core::Core;
use crate::object::OpenObject;
use tributary_store::blob::BlobError;

/// Largest object kept in memory.
const HOT_BYTES: usize = 8 * 1024 * 1024;
/// How a blob is called that is set aside.
const KIND: &str = "object";

impl Core {
    /// A blob to download.
    ///
    /// # Errors
    /// When it is not known; when it is damaged, which is named then.
    pub async fn open_object(&self, digest: &Digest) -> Result<OpenObject, CoordinatorError> {
        if let Some(bytes) = self.objects.hot(digest) {
            return Ok(OpenObject::Whole(bytes));
        }
        let opened = self.open_stored(digest).await;
        self.judged(digest, opened)
    }

    async fn open_stored(&self, digest: &Digest) -> Result<OpenObject, BlobError> {
        let size = self.blobs.size(digest).await?;
        if size <= HOT_BYTES as u64 {
            return Ok(OpenObject::Whole(self.read_whole(digest).await?));
        }
        if self.objects.known(digest).is_none() {
            self.check(digest).await?;
        }
        // doubted again meanwhile: the next who asks looks into it
        self.objects.known(digest).unwrap_or(Ok(()))?;
        let digest = *digest;
        Ok(OpenObject::Stored { digest, size })
    }

    /// Reads a large object as a whole, unless somebody else just did.
    async fn check(&self, digest: &Digest) -> Result<(), BlobError> {
        let _turn = self.objects.checking.lock().await;
        if self.objects.known(digest).is_some() {
            return Ok(());
        }
        let damage = match self.blobs.check(digest).await {
            Ok(()) => None,
            Err(damage @ BlobError::Corrupt { .. }) => Some(damage),
            Err(error) => return Err(error),
        };
        self.objects.note(*digest, damage);
        Ok(())
    }

    /// A small object, from memory when it was asked for lately.
    async fn read_whole(&self, digest: &Digest) -> Result<Bytes, BlobError> {
        let _turn = self.objects.reading.lock().await;
        // another download of the same object may have been faster
        if let Some(bytes) = self.objects.hot(digest) {
            return Ok(bytes);
        }
        let bytes = self.blobs.get(digest).await?;
        self.objects.keep(*digest, &bytes);
        Ok(bytes)
    }

    /// A piece of a blob that is within its length.
    ///
    /// # Errors
    /// When it can't be read any more.
    pub async fn read_object(
        &self,
        object: &OpenObject,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, CoordinatorError> {
        match object {
            OpenObject::Whole(bytes) => {
                Ok(bytes.slice(offset as usize..(offset + length) as usize))
            }
            OpenObject::Stored { digest, .. } => {
                match self.blobs.get_range(digest, offset, length).await {
                    // one piece says nothing of the others
                    Ok(piece) => Ok(piece),
                    failed => {
                        self.objects.doubt([*digest]);
                        self.judged(digest, failed)
                    }
                }
            }
        }
    }

    /// Names an object that was found damaged, or that is gone although a record names it, and tells the
    /// runs: one whose devices need it is read from disk again, and set aside. One that is whole again
    /// is taken off the list.
    pub(crate) fn judged<T>(
        &self,
        digest: &Digest,
        found: Result<T, BlobError>,
    ) -> Result<T, CoordinatorError> {
        let name = digest.to_string();
        let error = match found {
            Ok(object) => {
                self.quarantine.remove(KIND, &name);
                return Ok(object);
            }
            Err(error) => error,
        };
        let is_damage = match &error {
            BlobError::Corrupt { .. } | BlobError::OutOfRange { .. } => true,
            BlobError::NotFound { .. } => self.registry.model(digest).is_ok_and(|at| at.is_some()),
            _ => false,
        };
        if !is_damage {
            return Err(error.into());
        }
        self.damaged(*digest, &error);
        let cause = self.quarantine.add(KIND, &name, &error.into());
        Err(CoordinatorError::SetAside {
            what: KIND,
            name,
            cause: cause.sentence,
            code: cause.code,
        })
    }

    /// Forgets what was kept in memory of an object that is deleted.
    pub fn forget(&self, digest: &Digest) {
        self.objects.forget(digest);
        self.telemetry.take_downloads(digest);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;
    use object_store::path::Path;
    use object_store::{ObjectStore, ObjectStoreExt as _};

    use super::*;
    use crate::fixtures::core_with;
    use tributary_store::MemoryStore;
    use tributary_store::blob::BlobStore;

    #[tokio::test]
    async fn a_large_object_is_read_as_a_whole_once_and_then_only_when_it_is_doubted() {
        let disk: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let core = core_with(Arc::new(MemoryStore::new()), BlobStore::new(disk.clone())).await;
        let whole = vec![7; HOT_BYTES + 1];
        let digest = core.blobs.put(whole.clone()).await.unwrap();
        let mut damaged = whole.clone();
        damaged[HOT_BYTES] ^= 1;
        let digits = digest.to_string();
        let path = Path::from_iter(["blobs", &digits[..2], &digits[2..]]);
        let is_given = async || core.open_object(&digest).await.is_ok();
        assert!(is_given().await);
        disk.put(&path, damaged.into()).await.unwrap();
        assert!(is_given().await, "nobody complained");
        core.objects.doubt([digest]);
        let refused = core.open_object(&digest).await.unwrap_err();
        assert_eq!(refused.code(), "TRB-0530", "{refused}");
        assert!(core.quarantine.cause(KIND, &digest.to_string()).is_some());
        // put back: it is looked at again, but not at once
        disk.put(&path, whole.into()).await.unwrap();
        core.objects.doubt([digest]);
        assert!(!is_given().await);
        // as if it had been looked at long ago
        core.objects.age(&digest);
        assert!(is_given().await);
        assert!(core.quarantine.is_empty());
    }
}
