//! A whole data folder: what is refused before anything is swept, and who may read it.

#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use tributary_coordinator::clock::SystemClock;
use tributary_coordinator::{CoordinatorError, Core};
use tributary_store::EngineKind;

async fn open(data: &Path) -> Result<Arc<Core>, CoordinatorError> {
    let engine = Some(EngineKind::Redb);
    let clock = Arc::new(SystemClock::new());
    let nothing = Arc::new(tributary_coordinator::failpoint::NoFailpoint);
    Core::open(data, engine, clock, NonZeroUsize::MIN, nothing).await
}

/// Every file below `folder` with what it holds.
fn snapshot(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(snapshot(&path));
        } else {
            all.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
    all
}

#[tokio::test]
async fn a_folder_whose_metadata_is_gone_is_refused_and_its_blobs_stay() {
    for part in ["blobs", "vault"] {
        let data = tempfile::tempdir().unwrap();
        let core = open(data.path()).await.unwrap();
        let blobs = if part == "blobs" {
            &core.blobs
        } else {
            &core.vault
        };
        blobs.put(b"what a record named".to_vec()).await.unwrap();
        drop(core);
        fs::remove_dir_all(data.path().join("meta")).unwrap();
        let before = snapshot(data.path());
        let error = open(data.path()).await.map(drop).unwrap_err();
        assert_eq!(error.code(), "TRB-0501");
        let text = error.to_string();
        assert!(text.contains("missing or empty"), "{text}");
        assert!(text.contains(part), "{text}");
        assert!(snapshot(data.path()) == before, "something was changed");
    }
}

#[tokio::test]
async fn all_of_a_data_folder_belongs_to_its_owner_alone() {
    fn check(folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
            let expected = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode, expected, "{} has mode {mode:o}", path.display());
            if path.is_dir() {
                check(&path);
            }
        }
    }
    let data = tempfile::tempdir().unwrap();
    let data = data.path().join("data");
    let core = open(&data).await.unwrap();
    core.blobs.put(vec![1; 300_000]).await.unwrap();
    core.vault.put(vec![2; 10]).await.unwrap();
    check(&data);
}
