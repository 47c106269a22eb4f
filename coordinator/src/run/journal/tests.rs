//! The way back from disk.

use tributary_proto::DeviceId;

use super::*;
use crate::engine::{Assigned, CloseReason, DropReason, Segment};
use crate::fixtures::{Flaky, core, core_on, device, plain_spec, state};

fn events() -> Vec<Event> {
    let devices = (0..4)
        .map(|number| Assigned {
            device: device(number),
            region: 0,
        })
        .collect();
    let contributors: Vec<DeviceId> = (0..3).map(device).collect();
    let segment = Segment {
        marks: Vec::new(),
        salted: false,
        cluster: 0,
        region: 0,
        digest: Digest::of(b"sum"),
        contributors,
        bytes_up: 9,
    };
    vec![
        Event::Selected {
            round: 1,
            devices,
            lease_until_ms: 50,
            complete: true,
            worst_pico_rho: 0,
            incarnation: 0,
        },
        Event::Sealed { round: 1, segment },
        Event::Dropped {
            round: 1,
            devices: vec![device(3)],
            reason: DropReason::Slow,
        },
        Event::Closed {
            round: 1,
            reason: CloseReason::AllAnswered,
        },
        Event::Charged {
            round: 1,
            pico_rho: 0,
            worst_pico_rho: 0,
        },
    ]
}

/// Makes events durable and applies them, as the actor does.
async fn keep(core: &Core, journal: &mut Journal, state: &mut RunState, events: &[Event]) {
    let mut batch = Batch::new();
    journal.put(events, &mut batch).unwrap();
    core.store.commit(batch).await.unwrap();
    journal.committed(events);
    for event in events {
        state.apply(event).unwrap();
    }
}

fn events_on_disk(core: &Core, run: &RunId) -> usize {
    let prefix = Key::new().text(run.as_str()).into_bytes();
    core.store.records(Table::RunEvents, &prefix).count()
}

#[tokio::test]
async fn invariant_2_recovery_replays_to_the_same_state_after_any_event() {
    let core = core().await;
    let mut live = state(plain_spec());
    let mut journal = Journal::create(&core, &mut live, Batch::new())
        .await
        .unwrap();
    for event in events() {
        keep(&core, &mut journal, &mut live, &[event]).await;
        let (_, recovered) = Journal::recover(&core, &live.id).await.unwrap();
        assert_eq!(recovered, live);
    }
}

#[tokio::test]
async fn a_snapshot_drops_the_events_it_holds_and_recovery_goes_on_from_it() {
    let core = core().await;
    let mut live = state(plain_spec());
    let mut journal = Journal::create(&core, &mut live, Batch::new())
        .await
        .unwrap();
    let first = journal.snapshot.unwrap();
    let all = events();
    keep(&core, &mut journal, &mut live, &all[..3]).await;
    assert_eq!(events_on_disk(&core, &live.id), 3);
    journal.snapshot(&core, &mut live).await.unwrap();
    assert_eq!(events_on_disk(&core, &live.id), 0);
    assert!(
        !core.vault.exists(&first).await.unwrap(),
        "the old snapshot is removed"
    );
    // a recovered journal goes on with the same numbers
    let (mut journal, mut recovered) = Journal::recover(&core, &live.id).await.unwrap();
    assert_eq!(recovered, live);
    keep(&core, &mut journal, &mut recovered, &all[3..]).await;
    let (_, last) = Journal::recover(&core, &live.id).await.unwrap();
    assert_eq!(last, recovered);
    assert_eq!(events_on_disk(&core, &live.id), 2);
}

#[tokio::test]
async fn a_snapshot_of_an_unchanged_state_keeps_its_blob() {
    let core = core().await;
    let mut live = state(plain_spec());
    let mut journal = Journal::create(&core, &mut live, Batch::new())
        .await
        .unwrap();
    journal.snapshot(&core, &mut live).await.unwrap();
    assert_eq!(Journal::recover(&core, &live.id).await.unwrap().1, live);
}

#[tokio::test]
async fn two_runs_do_not_read_each_others_events() {
    let core = core().await;
    let mut short = state(plain_spec());
    let mut long = short.clone();
    long.id = "tiny-10".parse().unwrap();
    let mut journal = Journal::create(&core, &mut short, Batch::new())
        .await
        .unwrap();
    let mut other = Journal::create(&core, &mut long, Batch::new())
        .await
        .unwrap();
    keep(&core, &mut journal, &mut short, &events()[..1]).await;
    keep(&core, &mut other, &mut long, &events()).await;
    other.snapshot(&core, &mut long).await.unwrap();
    assert_eq!(Journal::recover(&core, &short.id).await.unwrap().1, short);
    assert_eq!(Journal::recover(&core, &long.id).await.unwrap().1, long);
    let mut ids = run_ids(&core).unwrap();
    ids.sort();
    assert_eq!(ids, [short.id, long.id]);
}

#[tokio::test]
async fn a_run_is_created_once_and_an_unknown_one_is_named() {
    let core = core().await;
    let mut live = state(plain_spec());
    Journal::create(&core, &mut live, Batch::new())
        .await
        .unwrap();
    assert!(
        Journal::create(&core, &mut live, Batch::new())
            .await
            .is_err()
    );
    let unknown: RunId = "nobody-1".parse().unwrap();
    let Err(error) = Journal::recover(&core, &unknown).await else {
        panic!("it was recovered")
    };
    assert!(error.to_string().contains("nobody-1"), "{error}");
}

#[tokio::test]
async fn a_damaged_journal_is_an_error() {
    let core = core().await;
    let mut live = state(plain_spec());
    let mut journal = Journal::create(&core, &mut live, Batch::new())
        .await
        .unwrap();
    keep(&core, &mut journal, &mut live, &events()[..1]).await;
    let mut batch = Batch::new();
    // the same selection once more does not fit
    batch
        .put_json(
            Table::RunEvents,
            event_key(&live.id, 1),
            &events()[0],
            Expect::Absent,
        )
        .unwrap();
    core.store.commit(batch).await.unwrap();
    assert!(Journal::recover(&core, &live.id).await.is_err());
}

/// A round that was given up after these devices did not answer.
fn given_up(round: u32, devices: &[usize]) -> Vec<Event> {
    let devices: Vec<DeviceId> = devices.iter().map(|&number| device(number)).collect();
    let parts: Vec<&[DeviceId]> = devices.chunks(DEVICES_PER_EVENT).collect();
    let assigned = |device: &DeviceId| Assigned {
        device: device.clone(),
        region: 0,
    };
    let selected = parts
        .iter()
        .enumerate()
        .map(|(index, part)| Event::Selected {
            round,
            devices: part.iter().map(assigned).collect(),
            lease_until_ms: 50,
            complete: index + 1 == parts.len(),
            worst_pico_rho: 0,
            incarnation: 0,
        });
    let dropped = parts.iter().map(|part| Event::Dropped {
        round,
        devices: part.to_vec(),
        reason: DropReason::Expired,
    });
    let mut events: Vec<Event> = selected.chain(dropped).collect();
    events.push(Event::Aborted {
        round,
        reason: "tested".to_owned(),
    });
    events
}

async fn bytes_of(core: &Core, blobs: impl Iterator<Item = Digest>) -> u64 {
    let mut bytes = 0;
    for blob in blobs {
        bytes += core.vault.size(&blob).await.unwrap();
    }
    bytes
}

#[tokio::test]
async fn a_snapshot_writes_what_a_round_changed_and_not_the_whole_fleet() {
    let core = core().await;
    let mut live = state(plain_spec());
    let mut journal = Journal::create(&core, &mut live, Batch::new())
        .await
        .unwrap();
    let fleet: Vec<usize> = (0..5_000).collect();
    keep(&core, &mut journal, &mut live, &given_up(1, &fleet)).await;
    journal.snapshot(&core, &mut live).await.unwrap();
    let before: Vec<Digest> = RunRecord::read(&core, &live.id).unwrap().blobs().collect();
    keep(&core, &mut journal, &mut live, &given_up(1, &[7, 8])).await;
    journal.snapshot(&core, &mut live).await.unwrap();
    let after = RunRecord::read(&core, &live.id).unwrap();
    let new = after.blobs().filter(|blob| !before.contains(blob));
    let written = bytes_of(&core, new).await;
    assert!(written < 8 * 1024, "{written} bytes for two devices");
    assert!(bytes_of(&core, after.blobs()).await > 100 * 1024);
    let (_, recovered) = Journal::recover(&core, &live.id).await.unwrap();
    assert_eq!(recovered, live);
}

#[tokio::test]
async fn after_many_rounds_there_are_few_parts_and_nothing_is_lost() {
    let core = core().await;
    let mut live = state(plain_spec());
    let mut journal = Journal::create(&core, &mut live, Batch::new())
        .await
        .unwrap();
    for attempt in 0..120 {
        let devices: Vec<usize> = (0..20).map(|one| (attempt * 13 + one * 7) % 400).collect();
        // the limit of attempts is not what is tested here
        live.round.fruitless = 0;
        keep(&core, &mut journal, &mut live, &given_up(1, &devices)).await;
        journal.snapshot(&core, &mut live).await.unwrap();
    }
    assert_eq!(live.history.len(), 120);
    let record = RunRecord::read(&core, &live.id).unwrap();
    let parts = record.parts.len();
    assert!(parts <= 10, "{parts} parts");
    let (_, recovered) = Journal::recover(&core, &live.id).await.unwrap();
    assert_eq!(recovered, live);
    // nothing else is left in the vault
    let named = record.blobs().collect();
    assert_eq!(core.vault.keep_only(&named).await.unwrap(), 0);
}

#[tokio::test]
async fn who_was_counted_before_a_snapshot_in_the_midst_of_a_round_is_noted_when_the_round_ends() {
    for restarted in [false, true] {
        let core = core().await;
        let mut live = state(plain_spec());
        let mut journal = Journal::create(&core, &mut live, Batch::new())
            .await
            .unwrap();
        keep(&core, &mut journal, &mut live, &events()).await;
        journal.snapshot(&core, &mut live).await.unwrap();
        if restarted {
            (journal, live) = Journal::recover(&core, &live.id).await.unwrap();
        }
        keep(&core, &mut journal, &mut live, &[Event::Stopped]).await;
        journal.snapshot(&core, &mut live).await.unwrap();
        assert_eq!(live.participations[&device(0)].last_attempt, 1);
        let (_, recovered) = Journal::recover(&core, &live.id).await.unwrap();
        assert_eq!(recovered.participations, live.participations);
    }
}

#[tokio::test]
async fn a_snapshot_of_before_there_were_parts_is_read_and_written_in_parts_next_time() {
    let core = core().await;
    let mut live = state(plain_spec());
    for event in given_up(1, &[1, 2, 3]) {
        live.apply(&event).unwrap();
    }
    let snapshot = core
        .vault
        .put(serde_json::to_vec(&live).unwrap())
        .await
        .unwrap();
    let old = serde_json::json!({ "snapshot": snapshot, "events": 0 });
    let mut batch = Batch::new();
    batch
        .put_json(Table::Runs, live.id.as_str(), &old, Expect::Absent)
        .unwrap();
    core.store.commit(batch).await.unwrap();
    let (mut journal, mut recovered) = Journal::recover(&core, &live.id).await.unwrap();
    assert_eq!(recovered, live);
    journal.snapshot(&core, &mut recovered).await.unwrap();
    assert_eq!(RunRecord::read(&core, &live.id).unwrap().parts.len(), 1);
    assert_eq!(Journal::recover(&core, &live.id).await.unwrap().1, live);
}

#[tokio::test]
async fn after_a_failed_commit_the_recorded_snapshot_is_still_known_and_removed_by_the_next() {
    let (store, flaky) = Flaky::store();
    let core = core_on(store).await;
    let mut live = state(plain_spec());
    let mut journal = Journal::create(&core, &mut live, Batch::new())
        .await
        .unwrap();
    keep(&core, &mut journal, &mut live, &given_up(1, &[1, 2])).await;
    flaky.set_fails(true);
    assert!(journal.snapshot(&core, &mut live).await.is_err());
    assert_eq!(Journal::recover(&core, &live.id).await.unwrap().1, live);
    flaky.set_fails(false);
    journal.snapshot(&core, &mut live).await.unwrap();
    assert_eq!(Journal::recover(&core, &live.id).await.unwrap().1, live);
    let named = RunRecord::read(&core, &live.id).unwrap().blobs().collect();
    assert_eq!(
        core.vault.keep_only(&named).await.unwrap(),
        0,
        "old blobs are gone"
    );
}

#[tokio::test]
async fn an_event_that_is_missing_is_named() {
    let core = core().await;
    let mut live = state(plain_spec());
    let mut journal = Journal::create(&core, &mut live, Batch::new())
        .await
        .unwrap();
    keep(&core, &mut journal, &mut live, &events()).await;
    let mut batch = Batch::new();
    batch.delete(Table::RunEvents, event_key(&live.id, 2), Expect::Any);
    core.store.commit(batch).await.unwrap();
    let Err(error) = Journal::recover(&core, &live.id).await else {
        panic!("it was recovered")
    };
    assert!(error.to_string().contains("event 2 is missing"), "{error}");
}
