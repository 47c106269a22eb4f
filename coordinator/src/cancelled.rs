//! Callers that go away at any of a call's waits: what is in memory then is what is on disk.
//!
//! A service drops the future of a call whose caller hangs up. Here each call is polled once, twice, and so on,
//! and dropped, until it is polled so often that it ends.

use std::pin::pin;
use std::sync::Arc;

use tokio::task::yield_now;
use tributary_proto::v1::DeviceProfile;

use crate::coordinator::Coordinator;
use crate::epoch::{Halt, Place};
use crate::fixtures::{coordinator_on, device, region, spec};
use crate::fleet::{Device, Fleet};
use crate::ledger::{Cap, Change, Charge, ChargeKind, DeviceCharge, Ledger};
use crate::quarantine::Quarantine;
use crate::run::{Origin, run_ids, start_run};
use tributary_store::{Batch, CommitFuture, MemoryStore, Row, Store, StoreError, Table, Versioned};

/// Polls after which every call here has ended.
const ENOUGH: usize = 500;

/// A store whose commits wait before and after they take effect, as on a disk.
#[derive(Clone, Default)]
struct Slow(MemoryStore);

impl Store for Slow {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        self.0.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.0.scan(table, prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> CommitFuture {
        let commit = self.0.commit(batch);
        Box::pin(async move {
            yield_now().await;
            let receipt = commit.await;
            yield_now().await;
            yield_now().await;
            receipt
        })
    }

    fn failure(&self) -> Option<StoreError> {
        None
    }
}

impl Slow {
    fn shared(&self) -> Arc<dyn Store> {
        Arc::new(self.clone())
    }

    fn ledger(&self) -> Ledger {
        Ledger::open(self.shared()).unwrap()
    }

    fn fleet(&self) -> Fleet {
        Fleet::open(self.shared(), &Quarantine::default()).unwrap()
    }
}

/// Polls a call so many times and drops it; what others go on with is done when this returns. True when
/// the call had ended.
async fn dropped_after<T>(times: usize, call: impl Future<Output = T>) -> bool {
    let ended = {
        let mut call = pin!(call);
        let mut ended = false;
        for _ in 0..times {
            ended = futures::poll!(call.as_mut()).is_ready();
            if ended {
                break;
            }
            yield_now().await;
        }
        ended
    };
    for _ in 0..20 {
        yield_now().await;
    }
    ended
}

async fn enrol(fleet: &Fleet, number: usize, task: &str) {
    let profile = DeviceProfile {
        name: "watch".to_owned(),
        ..DeviceProfile::default()
    };
    let tasks = vec![task.to_owned()];
    let enrolled = fleet.enrol(device(number), &[7; 32], region("eu"), profile, tasks, 1);
    enrolled.await.unwrap();
}

fn pays(number: usize, pico_rho: u64) -> DeviceCharge {
    DeviceCharge {
        device: device(number),
        region: region("eu"),
        pico_rho,
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_the_ledger_as_the_disk_has_it() {
    for times in 0..ENOUGH {
        let store = Slow::default();
        let ledger = store.ledger();
        let call = async {
            let cap = Cap::new(8.0, 1e-5).unwrap();
            let hold = ledger.hold().await;
            let changes = vec![Change::Cap(Some(region("eu")), cap)];
            hold.commit(changes, Batch::new()).await.unwrap();
            let charge = Charge::new("run-1", ChargeKind::Training, 1);
            ledger
                .charge(charge, &[pays(1, 30)], Batch::new())
                .await
                .unwrap();
        };
        let ended = dropped_after(times, call).await;
        let again = store.ledger();
        assert_eq!(ledger.caps(), again.caps(), "dropped after {times} polls");
        let spent = |ledger: &Ledger| ledger.worst_of(&[region("eu")]);
        assert_eq!(spent(&ledger), spent(&again), "dropped after {times} polls");
        if ended {
            assert_eq!((ledger.caps().len(), spent(&ledger)), (1, 30));
            return;
        }
    }
    panic!("it does not end");
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_a_device_where_the_disk_has_it_and_free() {
    for times in 0..ENOUGH {
        let store = Slow::default();
        let (ledger, fleet) = (store.ledger(), store.fleet());
        enrol(&fleet, 1, "watch").await;
        let charge = Charge::new("run-1", ChargeKind::Training, 1);
        ledger
            .charge(charge, &[pays(1, 30)], Batch::new())
            .await
            .unwrap();
        let id = device(1);
        let moving = fleet.relocate(&ledger, &id, region("us"));
        let ended = dropped_after(times, moving).await;
        let home = |fleet: &Fleet| fleet.device(&device(1)).unwrap().region.clone();
        let spent = |ledger: &Ledger| [region("eu"), region("us")].map(|at| ledger.worst_of(&[at]));
        assert_eq!(
            (home(&fleet), spent(&ledger)),
            (home(&store.fleet()), spent(&store.ledger())),
            "dropped after {times} polls"
        );
        assert!(!fleet.is_reserved(&id), "dropped after {times} polls");
        if ended {
            assert_eq!((home(&fleet), spent(&ledger)), (region("us"), [0, 30]));
            return;
        }
    }
    panic!("it does not end");
}

#[tokio::test]
async fn a_caller_that_goes_away_is_enrolled_in_memory_as_it_is_on_disk() {
    for times in 0..ENOUGH {
        let store = Slow::default();
        let fleet = store.fleet();
        let call = async {
            enrol(&fleet, 1, "watch").await;
            enrol(&fleet, 1, "phone").await;
        };
        let ended = dropped_after(times, call).await;
        let known = |fleet: &Fleet| -> Option<Arc<Device>> { fleet.device(&device(1)) };
        let again = known(&store.fleet());
        assert_eq!(known(&fleet), again, "dropped after {times} polls");
        if ended {
            assert_eq!(*again.unwrap().tasks, ["phone"]);
            return;
        }
    }
    panic!("it does not end");
}

async fn start(served: &Arc<Coordinator>) {
    let mut recipe = spec();
    (recipe.drift, recipe.playbook, recipe.builds) = (None, None, None);
    start_run(&served.runs, recipe, Origin::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_run_on_disk_that_nobody_runs() {
    for times in 0..ENOUGH {
        let store = Slow::default();
        let served = coordinator_on(store.shared()).await;
        let ended = Box::pin(dropped_after(times, start(&served))).await;
        // whoever starts the next waits for the end of this one
        drop(served.runs.starting.lock().await);
        let live: Vec<_> = served.runs.live().into_iter().map(|run| run.id).collect();
        assert_eq!(
            live,
            run_ids(&served.core).unwrap(),
            "dropped after {times} polls"
        );
        let reserved = store.ledger().reservations();
        assert_eq!(served.core.ledger.reservations(), reserved);
        assert_eq!(reserved.len(), live.len(), "dropped after {times} polls");
        let before = live.len();
        start(&served).await;
        assert_eq!(
            served.runs.live().len(),
            before + 1,
            "the next can't be started"
        );
        if ended {
            return;
        }
    }
    panic!("it does not end");
}

#[tokio::test]
async fn a_device_that_goes_away_at_once_has_halted_the_coordinator_for_good() {
    for times in 0..ENOUGH {
        let store = Slow::default();
        let served = coordinator_on(store.shared()).await;
        let lost = served
            .core
            .epoch
            .order(&device(1), "lost-1", (Place::of_round(2, 1), 0));
        let ended = dropped_after(times, served.witness(&device(1), &[lost])).await;
        let noted = Halt::open(&store).unwrap();
        assert_eq!(
            served.core.halt.record(),
            noted.record(),
            "dropped after {times} polls"
        );
        if ended {
            assert!(noted.is_halted());
            return;
        }
    }
    panic!("it does not end");
}
