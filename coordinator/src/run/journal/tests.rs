//! The way back from disk.

use tributary_proto::DeviceId;

use super::*;
use crate::engine::{Assigned, CloseReason, Segment};
use crate::fixtures::{core, device, plain_spec, state};

fn events() -> Vec<Event> {
    let devices = (0..4)
        .map(|number| Assigned {
            device: device(number),
            region: 0,
        })
        .collect();
    let contributors: Vec<DeviceId> = (0..3).map(device).collect();
    let segment = Segment {
        updates: Vec::new(),
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
        },
        Event::Sealed { round: 1, segment },
        Event::Dropped {
            round: 1,
            devices: vec![device(3)],
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
    journal.committed(events.len());
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
    let mut journal = Journal::create(&core, &live, Batch::new()).await.unwrap();
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
    let mut journal = Journal::create(&core, &live, Batch::new()).await.unwrap();
    let first = journal.snapshot.unwrap();
    let all = events();
    keep(&core, &mut journal, &mut live, &all[..3]).await;
    assert_eq!(events_on_disk(&core, &live.id), 3);
    journal.snapshot(&core, &live).await.unwrap();
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
    let live = state(plain_spec());
    let mut journal = Journal::create(&core, &live, Batch::new()).await.unwrap();
    journal.snapshot(&core, &live).await.unwrap();
    assert_eq!(Journal::recover(&core, &live.id).await.unwrap().1, live);
}

#[tokio::test]
async fn two_runs_do_not_read_each_others_events() {
    let core = core().await;
    let mut short = state(plain_spec());
    let mut long = short.clone();
    long.id = "tiny-10".parse().unwrap();
    let mut journal = Journal::create(&core, &short, Batch::new()).await.unwrap();
    let mut other = Journal::create(&core, &long, Batch::new()).await.unwrap();
    keep(&core, &mut journal, &mut short, &events()[..1]).await;
    keep(&core, &mut other, &mut long, &events()).await;
    other.snapshot(&core, &long).await.unwrap();
    assert_eq!(Journal::recover(&core, &short.id).await.unwrap().1, short);
    assert_eq!(Journal::recover(&core, &long.id).await.unwrap().1, long);
    let mut ids = run_ids(&core).unwrap();
    ids.sort();
    assert_eq!(ids, [short.id, long.id]);
}

#[tokio::test]
async fn a_run_is_created_once_and_an_unknown_one_is_named() {
    let core = core().await;
    let live = state(plain_spec());
    Journal::create(&core, &live, Batch::new()).await.unwrap();
    assert!(Journal::create(&core, &live, Batch::new()).await.is_err());
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
    let mut journal = Journal::create(&core, &live, Batch::new()).await.unwrap();
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

/// A store whose next commits fail.
struct Failing(
    std::sync::Arc<crate::store::MemoryStore>,
    std::sync::atomic::AtomicBool,
);

impl crate::store::Store for Failing {
    fn get(
        &self,
        table: Table,
        key: &[u8],
    ) -> Result<Option<crate::store::Versioned>, crate::store::StoreError> {
        self.0.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<crate::store::Row>, crate::store::StoreError> {
        self.0.scan(table, prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> crate::store::CommitFuture {
        if self.1.load(std::sync::atomic::Ordering::SeqCst) {
            let full = crate::store::StoreError::Full { during: "a test" };
            return Box::pin(async { Err(full) });
        }
        self.0.commit(batch)
    }
}

#[tokio::test]
async fn after_a_failed_commit_the_recorded_snapshot_is_still_known_and_removed_by_the_next() {
    let store = std::sync::Arc::new(Failing(Default::default(), false.into()));
    let core = crate::fixtures::core_on(store.clone()).await;
    let mut live = state(plain_spec());
    let mut journal = Journal::create(&core, &live, Batch::new()).await.unwrap();
    let recorded = journal.snapshot.unwrap();
    keep(&core, &mut journal, &mut live, &events()[..1]).await;
    store.1.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(journal.snapshot(&core, &live).await.is_err());
    assert_eq!(journal.snapshot_digest(), Some(recorded));
    assert_eq!(Journal::recover(&core, &live.id).await.unwrap().1, live);
    store.1.store(false, std::sync::atomic::Ordering::SeqCst);
    keep(&core, &mut journal, &mut live, &events()[1..2]).await;
    journal.snapshot(&core, &live).await.unwrap();
    assert!(
        !core.vault.exists(&recorded).await.unwrap(),
        "the old one is left behind"
    );
    assert_eq!(Journal::recover(&core, &live.id).await.unwrap().1, live);
}
