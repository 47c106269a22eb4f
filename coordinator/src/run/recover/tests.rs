//! What a damaged record or blob of one run does to the others: nothing.

use super::*;
use crate::fixtures::core;

#[tokio::test]
async fn what_no_record_names_is_gone_before_anything_is_served() {
    let core = core().await;
    let sum = core
        .vault
        .put(b"an exact partial sum".to_vec())
        .await
        .unwrap();
    let version = core
        .blobs
        .put(b"a release without record".to_vec())
        .await
        .unwrap();
    recover_runs(&core).await.unwrap();
    assert!(!core.vault.exists(&sum).await.unwrap());
    assert!(!core.blobs.exists(&version).await.unwrap());
}
