//! The ledger over a store: charges, caps, restarts and races.

use proptest::prelude::*;

use super::charge::StoredCharge;
use super::*;
use crate::fixtures::{device, region};
use tributary_store::MemoryStore;

pub(super) fn charge(number: u64) -> Charge {
    Charge {
        unix_ms: number,
        ..Charge::new("run-1", ChargeKind::Training, number)
    }
}

/// A cap of so much, whatever its epsilon.
pub(super) fn cap_of(pico_rho: u64) -> Cap {
    Cap {
        pico_rho,
        ..Cap::new(8.0, 1e-5).unwrap()
    }
}

/// Puts all devices under a cap.
pub(super) async fn cap(ledger: &Ledger, pico_rho: u64) {
    let changes = vec![Change::Cap(None, cap_of(pico_rho))];
    let hold = ledger.hold().await;
    hold.commit(changes, Batch::new()).await.unwrap();
}

/// Whether a device can be charged so much more by run-1.
fn fits(ledger: &Ledger, number: usize, pico_rho: u64) -> bool {
    let home = region(if number.is_multiple_of(2) { "eu" } else { "us" });
    let draw = ("run-1", ChargeKind::Training);
    ledger.can_pay(&device(number), &home, draw, pico_rho)
}

/// Devices that pay the same; the even ones are in eu, the odd ones in us.
pub(super) fn pay(pico_rho: u64, numbers: std::ops::Range<usize>) -> Vec<DeviceCharge> {
    let one = |number| DeviceCharge {
        device: device(number),
        region: region(if number % 2 == 0 { "eu" } else { "us" }),
        pico_rho,
    };
    numbers.map(one).collect()
}

pub(super) fn open(store: &MemoryStore) -> Ledger {
    Ledger::open(Arc::new(store.clone())).unwrap()
}

/// A batch that leaves a mark, to see whether it took effect.
fn marked(mark: &str) -> Batch {
    let mut batch = Batch::new();
    batch
        .put_json(Table::Meta, mark, &true, Expect::Absent)
        .unwrap();
    batch
}

fn is_marked(store: &MemoryStore, mark: &str) -> bool {
    store.get(Table::Meta, mark.as_bytes()).unwrap().is_some()
}

#[tokio::test]
async fn a_charge_adds_to_every_device_and_to_nobody_else() {
    let store = MemoryStore::new();
    let ledger = open(&store);
    ledger
        .charge(charge(1), &pay(10, 0..4), marked("one"))
        .await
        .unwrap();
    ledger
        .charge(charge(2), &pay(5, 2..6), marked("two"))
        .await
        .unwrap();
    cap(&ledger, 100).await;
    let expected = [10, 10, 15, 15, 5, 5, 0];
    for (number, &spent) in expected.iter().enumerate() {
        assert!(fits(&ledger, number, 100 - spent), "{number} spent more");
        assert!(!fits(&ledger, number, 101 - spent), "{number} spent less");
    }
    assert!(is_marked(&store, "one") && is_marked(&store, "two"));
    assert_eq!(ledger.worst_of(&[region("eu"), region("us")]), 15);
    assert_eq!(ledger.worst_of(&[region("asia")]), 0);
}

#[tokio::test]
async fn invariant_3_a_charge_past_the_cap_changes_nothing_at_all() {
    let store = MemoryStore::new();
    let ledger = open(&store);
    cap(&ledger, 100).await;
    ledger
        .charge(charge(1), &pay(60, 0..1), Batch::new())
        .await
        .unwrap();
    // device 1 could pay, device 0 can't: neither does
    let refused = ledger
        .charge(charge(2), &pay(41, 0..2), marked("round"))
        .await;
    let Err(CoordinatorError::Budget(message)) = refused else {
        panic!("{refused:?}")
    };
    assert!(
        message.contains("the cap of a device") && message.contains("--raise --reason TEXT"),
        "{message}"
    );
    assert!(
        !is_marked(&store, "round"),
        "the round moved on without its charge"
    );
    for ledger in [&ledger, &open(&store)] {
        assert!(fits(ledger, 0, 40) && fits(ledger, 1, 100));
        assert_eq!(ledger.accounts(None, |_| 1e-5)[0].charges, 1);
    }
    ledger
        .charge(charge(2), &pay(40, 0..2), marked("round"))
        .await
        .unwrap();
    assert!(!fits(&ledger, 0, 1), "exactly at the cap");
}

#[tokio::test]
async fn the_same_round_is_never_charged_twice() {
    let store = MemoryStore::new();
    let ledger = open(&store);
    ledger
        .charge(charge(1), &pay(10, 0..2), Batch::new())
        .await
        .unwrap();
    let again = ledger
        .charge(charge(1), &pay(10, 0..2), marked("again"))
        .await;
    assert!(matches!(again, Err(CoordinatorError::Store(error)) if error.is_conflict()));
    assert_eq!(ledger.worst_of(&[region("eu")]), 10);
    assert!(!is_marked(&store, "again"));
    // another part of the same window is another charge
    let part = Charge {
        part: 1,
        kind: ChargeKind::Drift,
        ..charge(1)
    };
    ledger
        .charge(part, &pay(10, 0..2), Batch::new())
        .await
        .unwrap();
    assert_eq!(ledger.worst_of(&[region("eu")]), 20);
}

#[tokio::test]
async fn a_charge_fails_with_the_batch_it_belongs_to() {
    let store = MemoryStore::new();
    let ledger = open(&store);
    store.commit(marked("taken")).await.unwrap();
    let refused = ledger
        .charge(charge(1), &pay(10, 0..2), marked("taken"))
        .await;
    assert!(matches!(refused, Err(CoordinatorError::Store(_))));
    assert_eq!(ledger.worst_of(&[region("eu")]), 0);
    assert!(ledger.accounts(None, |_| 1e-5).is_empty());
}

#[tokio::test]
async fn a_restart_keeps_totals_and_charges() {
    let store = MemoryStore::new();
    let before = open(&store);
    for round in 1..=12 {
        before
            .charge(charge(round), &pay(7, 0..5), Batch::new())
            .await
            .unwrap();
    }
    let after = open(&store);
    assert_eq!(
        after.accounts(None, |_| 1e-5),
        before.accounts(None, |_| 1e-5)
    );
    assert_eq!(after.worst(1e-5), before.worst(1e-5));
    assert_eq!(after.worst_by_region(1e-5), before.worst_by_region(1e-5));
    assert_eq!(after.worst_of(&[region("eu")]), 84);
    assert_eq!(after.accounts(Some("run-1"), |_| 1e-5)[0].charges, 12);
    assert!(after.accounts(Some("run-2"), |_| 1e-5).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_charges_lose_nothing_and_never_pass_the_cap() {
    let store = MemoryStore::new();
    let ledger = Arc::new(open(&store));
    cap(&ledger, 500).await;
    let tasks: Vec<_> = (0..64)
        .map(|number| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                ledger
                    .charge(charge(number), &pay(10, 0..3), Batch::new())
                    .await
                    .is_ok()
            })
        })
        .collect();
    let mut paid = 0;
    for task in tasks {
        paid += u64::from(task.await.unwrap());
    }
    assert_eq!(paid, 50);
    assert_eq!(ledger.worst_of(&[region("eu")]), 500);
    assert_eq!(open(&store).worst_of(&[region("eu"), region("us")]), 500);
}

#[tokio::test]
async fn an_unknown_device_has_the_whole_budget_and_no_sum_wraps_around() {
    let ledger = open(&MemoryStore::new());
    assert!(fits(&ledger, 0, u64::MAX));
    cap(&ledger, 5).await;
    assert!(fits(&ledger, 0, 5) && !fits(&ledger, 0, 6) && !fits(&ledger, 0, u64::MAX));
}

#[tokio::test]
async fn devices_that_are_charged_different_amounts_are_told_apart_over_a_restart() {
    let store = MemoryStore::new();
    let ledger = open(&store);
    // the second participation costs less than the first, as with correlated noise
    let both = [pay(70, 0..1), pay(30, 1..2)].concat();
    ledger
        .charge(charge(1), &pay(70, 0..1), Batch::new())
        .await
        .unwrap();
    ledger.charge(charge(2), &both, Batch::new()).await.unwrap();
    let ledger = open(&store);
    ledger
        .charge(charge(3), &pay(30, 0..2), Batch::new())
        .await
        .unwrap();
    let stored: &dyn Store = &store;
    let entries: Vec<Charge> = stored
        .records(Table::Ledger, b"")
        .map(|row| row.unwrap().1.json::<StoredCharge>().unwrap().into())
        .collect();
    let said: Vec<_> = entries
        .iter()
        .map(|entry| (entry.pico_rho, entry.devices, entry.worst_pico_rho))
        .collect();
    assert_eq!(said, [(70, 1, 70), (70, 2, 140), (30, 2, 170)]);
    let regions: Vec<_> = entries[2]
        .regions
        .iter()
        .map(|at| (at.region.as_str(), at.devices, at.worst_pico_rho))
        .collect();
    assert_eq!(regions, [("eu", 1, 170), ("us", 1, 60)]);
    assert_eq!(ledger.charged("run-1", ChargeKind::Training), 170);
    assert_eq!(ledger.charged("run-1", ChargeKind::Drift), 0);
}

#[tokio::test]
async fn regions_compose_in_parallel_and_a_device_that_moves_takes_its_account_along() {
    let store = MemoryStore::new();
    let ledger = open(&store);
    cap(&ledger, 100).await;
    let eu = [pay(40, 0..1), pay(10, 2..3)].concat();
    ledger.charge(charge(1), &eu, Batch::new()).await.unwrap();
    ledger
        .charge(charge(2), &pay(30, 1..2), Batch::new())
        .await
        .unwrap();
    let worst = |ledger: &Ledger| ["eu", "us"].map(|name| ledger.worst_of(&[region(name)]));
    assert_eq!(worst(&ledger), [40, 30], "disjoint regions do not add up");
    ledger
        .relocate(
            &device(0),
            (&region("eu"), &region("us")),
            marked("moved"),
            || (),
        )
        .await
        .unwrap();
    assert!(is_marked(&store, "moved"));
    for ledger in [&ledger, &open(&store)] {
        assert_eq!(worst(ledger), [10, 40]);
        assert!(!fits(ledger, 0, 61));
        let account = ledger.accounts(None, |_| 1e-5).remove(0);
        let rows = account.regions.iter();
        let rows: Vec<_> = rows
            .map(|row| (row.region.as_str(), row.devices, row.remaining_rho))
            .collect();
        assert_eq!(rows, [("eu", 1, 90e-12), ("us", 2, 60e-12)]);
    }
    let refused = ledger
        .relocate(
            &device(0),
            (&region("us"), &region("eu")),
            marked("moved"),
            || (),
        )
        .await;
    assert!(matches!(refused, Err(CoordinatorError::Store(_))));
    assert_eq!(worst(&ledger), [10, 40], "a batch that fails moves nothing");
}

/// Records as they were before spends were kept by account.
async fn older(store: &MemoryStore) {
    let mut batch = Batch::new();
    let entry = serde_json::json!({
        "account": "run-1", "kind": "training", "number": 1, "part": 0, "pico_rho": 50,
        "devices": 2, "seeded": true, "unnoised": false, "cap_pico_rho": 200,
        "worst_pico_rho": 50, "unix_ms": 1,
    });
    let key = Key::new()
        .text("run-1")
        .text("training")
        .number(1)
        .number(0);
    batch
        .put_json(Table::Ledger, key, &entry, Expect::Absent)
        .unwrap();
    for (number, at) in [(0, "eu"), (1, "us")] {
        let account = serde_json::json!({ "pico_rho": 50, "region": at });
        let key = device(number);
        batch
            .put_json(
                Table::DeviceAccounts,
                key.as_str(),
                &account,
                Expect::Absent,
            )
            .unwrap();
    }
    store.commit(batch).await.unwrap();
}

#[tokio::test]
async fn a_ledger_of_before_spends_were_kept_by_account_goes_on_and_forgets_nothing() {
    let store = MemoryStore::new();
    older(&store).await;
    let ledger = open(&store);
    cap(&ledger, 200).await;
    assert!(fits(&ledger, 0, 150) && !fits(&ledger, 0, 151));
    assert!(ledger.worst(1e-5).0.not_private, "it was seeded");
    ledger
        .charge(charge(2), &pay(20, 0..1), Batch::new())
        .await
        .unwrap();
    ledger
        .relocate(
            &device(0),
            (&region("eu"), &region("us")),
            Batch::new(),
            || (),
        )
        .await
        .unwrap();
    for ledger in [&ledger, &open(&store)] {
        assert_eq!(ledger.worst_of(&[region("us")]), 70);
        assert_eq!(ledger.worst_of(&[region("eu")]), 0);
        assert_eq!(ledger.charged("run-1", ChargeKind::Training), 70);
        let account = ledger.accounts(None, |_| 1e-5).remove(0);
        assert_eq!((account.charges, account.spend.unwrap().rho), (2, 70e-12));
    }
}

proptest! {
    #[test]
    fn totals_do_not_depend_on_the_order_of_charges(
        charges in prop::collection::vec((1u64..1_000, 0usize..5, 1usize..6), 1..20),
        seed in any::<u64>(),
    ) {
        let total = |order: Vec<usize>| {
            let store = MemoryStore::new();
            let ledger = open(&store);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for index in order {
                let (pico, first, count) = charges[index];
                let who = pay(pico, first..first + count);
                let one = ledger.charge(charge(index as u64), &who, Batch::new());
                runtime.block_on(one).unwrap();
            }
            let spent = |number| ledger.lock().total(&device(number));
            (0..12).map(spent).collect::<Vec<_>>()
        };
        let forward: Vec<usize> = (0..charges.len()).collect();
        let mut other = forward.clone();
        other.sort_by_key(|&index| (index as u64 + 1).wrapping_mul(seed | 1));
        prop_assert_eq!(total(forward), total(other));
    }
}

#[tokio::test]
async fn a_charge_whose_caller_goes_away_is_in_the_books_once_it_is_on_disk() {
    let store = MemoryStore::new();
    let ledger = Arc::new(open(&store));
    let paying = pay(10, 0..1);
    {
        let mut charging = Box::pin(ledger.charge(charge(1), &paying, marked("gone")));
        // begun, and given up at its first wait
        assert!(futures::poll!(&mut charging).is_pending());
    }
    ledger
        .charge(charge(2), &pay(5, 0..1), Batch::new())
        .await
        .unwrap();
    let on_disk = open(&store).worst_of(&[region("eu")]);
    assert_eq!(ledger.worst_of(&[region("eu")]), on_disk);
    assert_eq!((on_disk, is_marked(&store, "gone")), (15, true));
}
