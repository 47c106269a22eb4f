//! A monitor that is stopped in the middle of a playbook.

use super::*;

/// A store that does what begins a run, and then keeps the answer back while it is told to.
struct Gate {
    store: MemoryStore,
    closed: watch::Sender<bool>,
    kept_back: Arc<AtomicU32>,
}

impl Store for Gate {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        self.store.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.store.scan(table, prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> CommitFuture {
        let begins = batch.operations().iter().any(|one| match one {
            Operation::Put { table, expect, .. } => {
                *table == Table::Runs && *expect == Expect::Absent
            }
            _ => false,
        });
        let (committed, mut closed) = (self.store.commit(batch), self.closed.subscribe());
        let kept_back = self.kept_back.clone();
        Box::pin(async move {
            let outcome = committed.await;
            if begins && *closed.borrow() {
                kept_back.fetch_add(1, Ordering::SeqCst);
                let _ = closed.wait_for(|closed| !closed).await;
            }
            outcome
        })
    }

    fn failure(&self) -> Option<StoreError> {
        None
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_that_is_stopped_while_its_playbook_starts_a_run_leaves_none_behind() {
    let gate = Arc::new(Gate {
        store: MemoryStore::new(),
        closed: watch::Sender::new(false),
        kept_back: Arc::default(),
    });
    let served = coordinator_on(gate.clone()).await;
    let mut recipe = watched();
    recipe.playbook = spec().playbook;
    let run = completed(&served, recipe).await;
    reserve(&served, &run).await;
    enrol(&served).await;
    let bin = Arc::new(AtomicU32::new(0));
    connect(&served, &bin, |_, _| {});
    start(&served.monitors, &run).await.unwrap();
    until(&served, &run, "a reference", |one| one.windows_asked >= 4).await;
    gate.closed.send_replace(true);
    bin.store(2, Ordering::SeqCst);
    let begun = async {
        while gate.kept_back.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(GLANCE).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), begun)
        .await
        .unwrap();
    let (with, name) = (served.monitors.clone(), run.id.to_string());
    let stopping = tokio::spawn(async move { stop(&with, &name).await });
    tokio::time::sleep(GLANCE * 30).await;
    assert!(
        !stopping.is_finished(),
        "it is not known yet whether there is a run"
    );
    assert!(served.core.ledger.reservation("tiny-1").is_some());
    gate.closed.send_replace(false);
    let stopped = stopping.await.unwrap().unwrap();
    assert_eq!(stopped.state(), MonitorState::Stopped);
    let child = stopped.regions[0].mitigation_run_id.clone();
    assert_eq!(child, "tiny-eu-1", "{stopped:?}");
    assert!(served.core.ledger.reservation("tiny-1").is_none());
    let child: RunId = child.parse().unwrap();
    let view = served.runs.run_view(&child).await.unwrap();
    assert_eq!(view.run.state(), v1::RunState::Stopped);
    for id in crate::run::run_ids(&served.core).unwrap() {
        assert!(
            served.runs.catalogue.is_known(&id),
            "{id} is on disk, and nobody goes on with it"
        );
    }
}
