//! The server's control variates (SCAFFOLD), each with the runs that use it.
//!
//! Devices fetch them by the digest of their values, so two runs with equal ones, all zeros for
//! example, share a blob. It goes when the last of them lets go.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::Mutex;
use tributary_model::Digest;
use tributary_proto::RunId;

use crate::CoordinatorError;
use tributary_store::blob::BlobStore;

/// Who uses which control variate.
#[derive(Default)]
pub struct Controls {
    /// Held while a blob is written or deleted, so that none goes that another run just wrote.
    users: Mutex<BTreeMap<Digest, BTreeSet<RunId>>>,
}

impl Controls {
    /// Notes that a run uses a stored one.
    pub async fn claim(&self, run: &RunId, digest: Digest) {
        let mut users = self.users.lock().await;
        users.entry(digest).or_default().insert(run.clone());
    }

    /// Stores a run's new one.
    ///
    /// # Errors
    /// When the blob store refuses.
    pub async fn put(
        &self,
        blobs: &BlobStore,
        run: &RunId,
        bytes: Vec<u8>,
    ) -> Result<Digest, CoordinatorError> {
        let mut users = self.users.lock().await;
        let digest = blobs.put(bytes).await?;
        users.entry(digest).or_default().insert(run.clone());
        Ok(digest)
    }

    /// Lets go of a run's old one; it is deleted when nobody else uses it.
    ///
    /// # Errors
    /// When the blob store refuses.
    pub async fn drop(
        &self,
        blobs: &BlobStore,
        run: &RunId,
        digest: Digest,
    ) -> Result<(), CoordinatorError> {
        let mut users = self.users.lock().await;
        let Some(known) = users.get_mut(&digest) else {
            return Ok(());
        };
        known.remove(run);
        if known.is_empty() {
            users.remove(&digest);
            blobs.delete(&digest).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_control_variate_that_two_runs_share_stays_until_both_let_go() {
        let (controls, blobs) = (Controls::default(), BlobStore::in_memory());
        let run = |name: &str| name.parse::<RunId>().unwrap();
        let zeros = || vec![0; 16];
        let digest = controls.put(&blobs, &run("a-1"), zeros()).await.unwrap();
        let same = controls.put(&blobs, &run("b-1"), zeros()).await.unwrap();
        assert_eq!(digest, same);
        controls.claim(&run("c-1"), digest).await;
        for name in ["a-1", "a-1", "b-1"] {
            controls.drop(&blobs, &run(name), digest).await.unwrap();
            assert!(
                blobs.exists(&digest).await.unwrap(),
                "{name} took it from another run"
            );
        }
        controls.drop(&blobs, &run("c-1"), digest).await.unwrap();
        assert!(!blobs.exists(&digest).await.unwrap());
    }
}
