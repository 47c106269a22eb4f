//! Enrolment, credentials, sessions, mailboxes and reservations.

use tributary_proto::v1::DeviceProfile;

use super::*;
use crate::fixtures::{device, region};
use crate::ledger::{Charge, ChargeKind, DeviceCharge, Ledger};
use tributary_store::{Batch, CommitFuture, Expect, MemoryStore, Row, StoreError, Versioned};

fn fleet() -> Fleet {
    Fleet::open(Arc::new(MemoryStore::new()), &Quarantine::default()).unwrap()
}

fn profile() -> DeviceProfile {
    DeviceProfile {
        name: "watch".to_owned(),
        ..DeviceProfile::default()
    }
}

async fn enrol(fleet: &Fleet, number: usize, token: u8, at: &str) -> Result<(), CoordinatorError> {
    let token = [token; TOKEN_BYTES];
    let tasks = vec!["walk".to_owned()];
    fleet
        .enrol(device(number), &token, region(at), profile(), tasks, 5)
        .await
        .map(drop)
}

fn credentials(number: usize, token: u8) -> Credentials {
    let token = vec![token; TOKEN_BYTES].into();
    Credentials {
        device_id: device(number).to_string(),
        token,
    }
}

#[tokio::test]
async fn only_the_token_of_enrolment_opens_the_door() {
    let fleet = fleet();
    enrol(&fleet, 1, 7, "eu").await.unwrap();
    let (id, known) = fleet.authenticate(Some(&credentials(1, 7))).unwrap();
    assert_eq!((id, known.region.as_str()), (device(1), "eu"));
    let strangers = [Some(credentials(1, 8)), Some(credentials(2, 7)), None];
    for stranger in strangers {
        let refused = fleet.authenticate(stranger.as_ref());
        assert!(matches!(refused, Err(CoordinatorError::Unauthenticated)));
    }
    let short = Credentials {
        token: vec![7; 31].into(),
        ..credentials(1, 7)
    };
    assert!(fleet.authenticate(Some(&short)).is_err());
}

#[tokio::test]
async fn a_taken_id_is_refused_and_a_repetition_is_harmless() {
    let fleet = fleet();
    enrol(&fleet, 1, 7, "eu").await.unwrap();
    enrol(&fleet, 1, 7, "eu").await.unwrap();
    for (token, at) in [(8, "eu"), (7, "us")] {
        let refused = enrol(&fleet, 1, token, at).await;
        assert!(matches!(refused, Err(CoordinatorError::Taken(id)) if id == "device-1"));
    }
    fleet.authenticate(Some(&credentials(1, 7))).unwrap();
}

#[tokio::test]
async fn two_enrolments_at_once_agree() {
    let fleet = fleet();
    let (one, two) = tokio::join!(enrol(&fleet, 1, 7, "eu"), enrol(&fleet, 1, 7, "eu"));
    one.and(two).unwrap();
    let (one, two) = tokio::join!(enrol(&fleet, 2, 7, "eu"), enrol(&fleet, 2, 8, "eu"));
    assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1);
}

#[tokio::test]
async fn bad_fields_of_an_enrolment_are_refused_by_name() {
    let fleet = fleet();
    let short = fleet
        .enrol(device(1), &[1; 31], region("eu"), profile(), vec![], 5)
        .await;
    assert!(
        short
            .unwrap_err()
            .to_string()
            .starts_with("token has 31 bytes")
    );
    let nameless = DeviceProfile::default();
    let long = DeviceProfile {
        name: "x".repeat(65),
        ..profile()
    };
    let many = DeviceProfile {
        formats: vec![String::new(); 17],
        ..profile()
    };
    for bad in [nameless, long, many] {
        let refused = fleet
            .enrol(device(1), &[1; 32], region("eu"), bad, vec![], 5)
            .await;
        assert!(refused.unwrap_err().to_string().starts_with("profile "));
    }
    assert!(fleet.groups().is_empty());
}

#[tokio::test]
async fn a_restart_keeps_the_devices() {
    let store = Arc::new(MemoryStore::new());
    let before = Fleet::open(store.clone(), &Quarantine::default()).unwrap();
    enrol(&before, 1, 7, "eu").await.unwrap();
    let after = Fleet::open(store, &Quarantine::default()).unwrap();
    assert_eq!(after.device(&device(1)), before.device(&device(1)));
    after.authenticate(Some(&credentials(1, 7))).unwrap();
    assert!(
        after.reachable(&region("eu"), "walk").is_empty(),
        "sessions are not kept"
    );
}

#[tokio::test]
async fn only_connected_devices_of_the_region_with_the_task_are_reachable() {
    let fleet = fleet();
    for (number, at) in [(1, "eu"), (2, "eu"), (3, "us")] {
        enrol(&fleet, number, 7, at).await.unwrap();
    }
    let (session, _messages) = fleet.connect(&device(1));
    let _other = fleet.connect(&device(3));
    assert_eq!(fleet.reachable(&region("eu"), "walk"), [device(1)]);
    assert!(fleet.reachable(&region("eu"), "run").is_empty());
    fleet.poll(&device(2), 0);
    assert_eq!(fleet.reachable(&region("eu"), "walk").len(), 2);
    fleet.disconnect(&device(1), session);
    assert_eq!(fleet.reachable(&region("eu"), "walk"), [device(2)]);
}

#[tokio::test]
async fn a_device_that_streams_and_polls_is_there_once() {
    let fleet = fleet();
    enrol(&fleet, 1, 7, "eu").await.unwrap();
    let _session = fleet.connect(&device(1));
    fleet.poll(&device(1), 0);
    assert_eq!(fleet.reachable(&region("eu"), "walk"), [device(1)]);
}

#[tokio::test]
async fn a_newer_session_takes_over_and_the_end_of_the_older_one_does_not_close_it() {
    let fleet = fleet();
    enrol(&fleet, 1, 7, "eu").await.unwrap();
    let (first, mut old) = fleet.connect(&device(1));
    let (second, mut new) = fleet.connect(&device(1));
    fleet.disconnect(&device(1), first);
    assert!(fleet.send(&device(1), Directive::default()));
    assert!(new.try_recv().is_ok());
    assert!(old.recv().await.is_none(), "the older stream ends");
    fleet.disconnect(&device(1), second);
    assert!(!fleet.send(&device(1), Directive::default()));
}

#[tokio::test]
async fn mailboxes_and_outboxes_are_bounded() {
    let fleet = fleet();
    assert!(
        !fleet.send(&device(1), Directive::default()),
        "nobody there"
    );
    fleet.poll(&device(1), 0);
    let sent = (0..100)
        .filter(|_| fleet.send(&device(1), Directive::default()))
        .count();
    assert_eq!(sent, MAILBOX);
    assert_eq!(fleet.poll(&device(1), 0).1.len(), MAILBOX);
    assert!(fleet.poll(&device(1), 0).1.is_empty());
    let _unread = fleet.connect(&device(2));
    let sent = (0..100)
        .filter(|_| fleet.send(&device(2), Directive::default()))
        .count();
    assert_eq!(sent, MAILBOX);
}

#[test]
fn a_device_is_reserved_for_one_run_at_a_time() {
    let fleet = fleet();
    let all: Vec<DeviceId> = (0..4).map(device).collect();
    assert_eq!(fleet.reserve(all[..2].to_vec()), all[..2]);
    assert_eq!(
        fleet.reserve(all.clone()),
        all[2..],
        "only those that are free"
    );
    assert!(fleet.is_reserved(&all[0]));
    fleet.release(&all[..1]);
    assert!(!fleet.is_reserved(&all[0]) && fleet.is_reserved(&all[1]));
    assert_eq!(fleet.reserve(all.clone()), all[..1]);
}

#[tokio::test]
async fn groups_count_enrolled_and_connected_by_region_and_profile() {
    let fleet = fleet();
    for number in 0..3 {
        enrol(&fleet, number, 7, "eu").await.unwrap();
    }
    let _session = fleet.connect(&device(0));
    fleet.poll(&device(1), 0);
    let groups = fleet.groups();
    assert_eq!(groups.len(), 1);
    assert_eq!((groups[0].enrolled, groups[0].connected), (3, 2));
    assert_eq!(
        (groups[0].region.as_str(), groups[0].profile.as_str()),
        ("eu", "watch")
    );
}

#[tokio::test]
async fn a_device_that_stops_polling_is_out_of_reach_until_it_polls_again() {
    let fleet = fleet();
    enrol(&fleet, 1, 7, "eu").await.unwrap();
    let here = || fleet.reachable(&region("eu"), "walk");
    let ten_seconds_ago = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
    fleet.lock().pollers.poll(&device(1), 0, ten_seconds_ago);
    assert!(here().is_empty());
    assert!(!fleet.is_polling(&device(1), 0) && !fleet.is_reachable(&device(1)));
    assert_eq!(fleet.groups()[0].connected, 0);
    fleet.poll(&device(1), 0);
    assert_eq!(here(), [device(1)]);
    assert!(fleet.is_polling(&device(1), 0) && fleet.is_reachable(&device(1)));
    assert_eq!(fleet.groups()[0].connected, 1);
}

#[tokio::test]
async fn a_device_that_moves_is_asked_in_its_new_region_and_keeps_token_and_account() {
    let store = Arc::new(MemoryStore::new());
    let fleet = Fleet::open(store.clone(), &Quarantine::default()).unwrap();
    let ledger = Ledger::open(store.clone()).unwrap();
    enrol(&fleet, 1, 7, "eu").await.unwrap();
    let pays = DeviceCharge {
        device: device(1),
        region: region("eu"),
        pico_rho: 40,
    };
    let charge = Charge::new("run-1", ChargeKind::Training, 1);
    ledger.charge(charge, &[pays], Batch::new()).await.unwrap();
    let _session = fleet.connect(&device(1));
    let moved = fleet.relocate(&ledger, &device(1), region("us")).await;
    assert_eq!(moved.unwrap(), region("eu"));
    let again = fleet.relocate(&ledger, &device(1), region("us")).await;
    assert_eq!(again.unwrap(), region("us"), "where it is already");
    assert!(fleet.reachable(&region("eu"), "walk").is_empty());
    assert_eq!(fleet.reachable(&region("us"), "walk"), [device(1)]);
    assert!(!fleet.is_reserved(&device(1)));
    let fleet = Fleet::open(store.clone(), &Quarantine::default()).unwrap();
    for ledger in [ledger, Ledger::open(store.clone()).unwrap()] {
        assert_eq!(ledger.worst_of(&[region("us")]), 40);
        assert_eq!(ledger.worst_of(&[region("eu")]), 0);
    }
    let (_, known) = fleet.authenticate(Some(&credentials(1, 7))).unwrap();
    assert_eq!(known.region, region("us"));
    // the device knows nothing of it and enrols as ever
    for at in ["eu", "us"] {
        enrol(&fleet, 1, 7, at).await.unwrap();
        assert_eq!(fleet.device(&device(1)).unwrap().region, region("us"));
    }
    assert!(enrol(&fleet, 1, 7, "asia").await.is_err());
    assert!(enrol(&fleet, 1, 8, "us").await.is_err());
    let ledger = Ledger::open(store).unwrap();
    let back = fleet.relocate(&ledger, &device(1), region("eu")).await;
    assert_eq!(back.unwrap(), region("us"));
    enrol(&fleet, 1, 7, "eu").await.unwrap();
    assert!(enrol(&fleet, 1, 7, "us").await.is_err());
}

#[tokio::test]
async fn a_device_at_work_or_unknown_is_not_moved() {
    let store = Arc::new(MemoryStore::new());
    let fleet = Fleet::open(store.clone(), &Quarantine::default()).unwrap();
    let ledger = Ledger::open(store).unwrap();
    enrol(&fleet, 1, 7, "eu").await.unwrap();
    fleet.reserve(vec![device(1)]);
    let refused = fleet.relocate(&ledger, &device(1), region("us")).await;
    assert!(matches!(refused, Err(CoordinatorError::AtWork(id)) if id == "device-1"));
    assert!(fleet.is_reserved(&device(1)), "it still works");
    assert_eq!(fleet.device(&device(1)).unwrap().region, region("eu"));
    let here = fleet.relocate(&ledger, &device(1), region("eu")).await;
    assert_eq!(here.unwrap(), region("eu"), "nothing to do is no error");
    fleet.release([&device(1)]);
    fleet
        .relocate(&ledger, &device(1), region("us"))
        .await
        .unwrap();
    let refused = fleet.relocate(&ledger, &device(2), region("us")).await;
    assert!(matches!(
        refused,
        Err(CoordinatorError::Unknown { what: "device", .. })
    ));
}

#[tokio::test]
async fn a_move_that_can_not_be_stored_changes_nothing() {
    let store = Arc::new(MemoryStore::new());
    let fleet = Fleet::open(store.clone(), &Quarantine::default()).unwrap();
    let ledger = Ledger::open(Arc::new(Refusing(store))).unwrap();
    enrol(&fleet, 1, 7, "eu").await.unwrap();
    let refused = fleet.relocate(&ledger, &device(1), region("us")).await;
    assert!(matches!(refused, Err(CoordinatorError::Store(_))));
    assert_eq!(fleet.device(&device(1)).unwrap().region, region("eu"));
    assert!(!fleet.is_reserved(&device(1)));
}

/// A store that can be read.
struct Refusing(Arc<MemoryStore>);

impl Store for Refusing {
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

    fn commit(&self, _batch: Batch) -> CommitFuture {
        let message = "no".to_owned();
        Box::pin(async { Err(StoreError::Encoding { message }) })
    }

    fn failure(&self) -> Option<StoreError> {
        None
    }
}

#[tokio::test]
async fn a_device_that_enrols_again_is_known_by_what_it_says_now_and_its_history_is_kept() {
    let store = Arc::new(MemoryStore::new());
    let fleet = Fleet::open(store.clone(), &Quarantine::default()).unwrap();
    let says = |profile: &str, tasks: &[&str], now_ms| {
        let profile = DeviceProfile {
            name: profile.to_owned(),
            ram_bytes: now_ms,
            ..DeviceProfile::default()
        };
        let tasks = tasks.iter().map(|task| (*task).to_owned()).collect();
        fleet.enrol(
            device(1),
            &[7; TOKEN_BYTES],
            region("eu"),
            profile,
            tasks,
            now_ms,
        )
    };
    says("watch", &["walk"], 1).await.unwrap();
    let _session = fleet.connect(&device(1));
    let now = says("phone", &["run", "walk"], 9).await.unwrap();
    assert_eq!((now.profile.name.as_str(), now.tasks.len()), ("phone", 2));
    assert_eq!(fleet.reachable(&region("eu"), "run"), [device(1)]);
    assert_eq!(now.history.len(), 1);
    let former = &now.history[0];
    assert_eq!(
        (former.profile.name.as_str(), former.until_ms),
        ("watch", 9)
    );
    assert_eq!(*former.tasks, ["walk"]);
    // saying the same again is no news, and all of it is as durable as the device
    says("phone", &["run", "walk"], 9).await.unwrap();
    let after = Fleet::open(store, &Quarantine::default()).unwrap();
    assert_eq!(after.device(&device(1)), Some(now));
    for number in 10..60 {
        says("phone", &["run"], number).await.unwrap();
    }
    let kept = fleet.device(&device(1)).unwrap();
    assert_eq!(kept.history.len(), 16, "the history is bounded");
    assert_eq!(kept.history[15].until_ms, 59);
}

#[tokio::test]
async fn a_device_whose_record_is_damaged_is_set_aside_alone_and_its_place_is_not_taken() {
    let store = Arc::new(MemoryStore::new());
    let fleet = Fleet::open(store.clone(), &Quarantine::default()).unwrap();
    for number in [1, 2] {
        enrol(&fleet, number, 7, "eu").await.unwrap();
    }
    let mut batch = Batch::new();
    let damaged = device(1);
    batch.put(Table::Devices, damaged.as_str(), b"{".to_vec(), Expect::Any);
    store.commit(batch).await.unwrap();
    let quarantine = Quarantine::default();
    let fleet = Fleet::open(store, &quarantine).unwrap();
    assert!(
        quarantine
            .page()
            .starts_with("quarantined device device-1: ")
    );
    fleet.authenticate(Some(&credentials(2, 7))).unwrap();
    assert!(fleet.authenticate(Some(&credentials(1, 7))).is_err());
    let refused = enrol(&fleet, 1, 9, "eu").await;
    assert!(matches!(refused, Err(CoordinatorError::Store(_))));
}
