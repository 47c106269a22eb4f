//! Removes blobs that no record names.
//!
//! A blob is written before the record that names it, so a process that dies in between, or a
//! deletion that fails, leaves one behind. Among those may be an exact partial sum, or a release
//! that was never published; neither may stay.

use std::collections::HashSet;

use futures::TryStreamExt as _;
use object_store::path::Path;
use tributary_model::Digest;

use super::content::FOLDER;
use super::{BlobError, BlobStore};

impl BlobStore {
    /// The digests of all blobs.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub async fn digests(&self) -> Result<Vec<Digest>, BlobError> {
        let objects = self.objects().list(Some(&Path::from(FOLDER)));
        let paths: Vec<Path> = objects
            .map_ok(|object| object.location)
            .try_collect()
            .await
            .map_err(|error: object_store::Error| BlobError::Io {
                during: "listing the blobs",
                message: error.to_string(),
            })?;
        Ok(paths.iter().filter_map(digest_of).collect())
    }

    /// Deletes every blob but those of `named` and says how many there were. Nobody may be writing.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub async fn keep_only(&self, named: &HashSet<Digest>) -> Result<usize, BlobError> {
        let mut removed = 0;
        for digest in self.digests().await? {
            if !named.contains(&digest) {
                self.delete(&digest).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// The digest that a path `blobs/ab/cdef...` stands for.
fn digest_of(path: &Path) -> Option<Digest> {
    let parts: Vec<_> = path.parts().collect();
    let [_, first, rest] = parts.as_slice() else {
        return None;
    };
    format!("{}{}", first.as_ref(), rest.as_ref()).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_named_blobs_survive_a_sweep() {
        let folder = tempfile::tempdir().unwrap();
        for store in [
            BlobStore::in_memory(),
            BlobStore::open(folder.path()).unwrap(),
        ] {
            let kept = store.put(b"named".to_vec()).await.unwrap();
            let gone = store.put(b"left behind".to_vec()).await.unwrap();
            let removed = store.keep_only(&HashSet::from([kept])).await.unwrap();
            assert_eq!(removed, 1);
            assert_eq!(store.get(&kept).await.unwrap().as_ref(), b"named");
            assert!(matches!(
                store.get(&gone).await,
                Err(BlobError::NotFound { .. })
            ));
            assert_eq!(store.keep_only(&HashSet::from([kept])).await.unwrap(), 0);
        }
    }
}
