//! What a damaged record or blob of one run does to the others: nothing. And what records of earlier
//! versions hold of single updates: nothing, once they were read.

use serde_json::{Value, json};

use super::*;
use crate::core::Core;
use crate::engine::{Assigned, Event, Segment};
use crate::fixtures::{core, device, spec, state};
use tributary_store::{Batch, Expect, Table};

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
    recover_runs(&Runs::new(core.clone()).0).await.unwrap();
    assert!(!core.vault.exists(&sum).await.unwrap());
    assert!(!core.blobs.exists(&version).await.unwrap());
}

/// A run whose first device was counted with zeros.
fn counted(id: &str) -> RunState {
    let mut run = state(spec());
    run.id = id.parse().unwrap();
    let devices = [0, 2].map(|number| Assigned {
        device: device(number),
        region: 0,
    });
    let selected = Event::Selected {
        round: 1,
        devices: devices.to_vec(),
        lease_until_ms: 9,
        complete: true,
        worst_pico_rho: 0,
        incarnation: 0,
    };
    run.apply(&selected).unwrap();
    let segment = Segment {
        region: 0,
        cluster: 0,
        digest: Digest::of(b"a sum"),
        salted: false,
        contributors: vec![device(0)],
        marks: Vec::new(),
        bytes_up: 1,
    };
    run.apply(&Event::Sealed { round: 1, segment }).unwrap();
    run
}

/// The run on disk as versions without marks wrote it: with the digest of its update.
async fn put_old(core: &Core, run: &RunState, update: &Digest, over: Option<Value>) {
    let mut old = serde_json::to_value(run).unwrap();
    old.as_object_mut().unwrap().remove("mark_key");
    old["round"]["leases"]["device-0"]["update"] = json!(update);
    old["round"]["segments"][0]["updates"] = json!([update]);
    let snapshot = core.vault.put(serde_json::to_vec(&old).unwrap()).await;
    let record = json!({ "snapshot": snapshot.unwrap(), "events": 0, "over": over });
    let mut batch = Batch::new();
    batch
        .put_json(Table::Runs, run.id.as_str(), &record, Expect::Absent)
        .unwrap();
    core.store.commit(batch).await.unwrap();
}

async fn assert_vault_lacks(core: &Core, update: &Digest) {
    for blob in core.vault.digests().await.unwrap() {
        let bytes = core.vault.get(&blob).await.unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(&update.to_string()), "{text}");
    }
}

#[tokio::test]
async fn a_record_of_before_there_were_marks_loses_its_digests_when_the_run_is_over() {
    let core = core().await;
    let update = Digest::of(&[0; 64]);
    let mut run = counted("old-1");
    run.status = crate::engine::RunStatus::Stopped;
    let over = json!({
        "started_ms": 1, "delta": 1e-6, "wants_monitor": false, "control": null, "message": "",
    });
    put_old(&core, &run, &update, Some(over)).await;
    recover_runs(&Runs::new(core.clone()).0).await.unwrap();
    assert_vault_lacks(&core, &update).await;
    assert!(RunRecord::read(&core, &run.id).unwrap().marked);
    let (_, recovered) = Journal::recover(&core, &run.id).await.unwrap();
    assert_eq!(recovered.status, run.status);
    assert!(recovered.round.leases.is_empty() && recovered.mark_key.is_none());
}

#[tokio::test]
async fn a_record_of_before_there_were_marks_gets_a_key_while_the_run_goes_on() {
    let core = core().await;
    let update = Digest::of(&[0; 64]);
    let run = counted("old-1");
    put_old(&core, &run, &update, None).await;
    // read as it is, by one that may not write
    let (_, read) = Journal::recover(&core, &run.id).await.unwrap();
    assert_eq!(read.was_counted(&device(0), &update), Some(true));
    recover_runs(&Runs::new(core.clone()).0).await.unwrap();
    assert_vault_lacks(&core, &update).await;
    let (journal, recovered) = Journal::recover(&core, &run.id).await.unwrap();
    assert!(!journal.lags() && recovered.mark_key.is_some());
    let other = Digest::of(b"other");
    assert_eq!(recovered.was_counted(&device(0), &update), Some(true));
    assert_eq!(recovered.was_counted(&device(0), &other), Some(false));
    assert_eq!(recovered.was_counted(&device(2), &update), None);
}
