//! The ledger over a store: charges, caps, restarts and races.

use proptest::prelude::*;

use tributary_aggregator::{Adjacency, Mechanism};
use tributary_proto::v1::PrivacySpend;

use super::*;
use crate::fixtures::{device, region};
use crate::store::MemoryStore;

fn charge(number: u64, cap_pico_rho: u64) -> Charge {
    Charge {
        cap_pico_rho,
        unix_ms: number,
        ..Charge::new("run-1", ChargeKind::Training, number)
    }
}

/// Devices that pay the same; the even ones are in eu, the odd ones in us.
fn pay(pico_rho: u64, numbers: std::ops::Range<usize>) -> Vec<DeviceCharge> {
    let one = |number| DeviceCharge {
        device: device(number),
        region: region(if number % 2 == 0 { "eu" } else { "us" }),
        pico_rho,
    };
    numbers.map(one).collect()
}

fn open(store: &MemoryStore) -> Ledger {
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
        .charge(charge(1, 0), &pay(10, 0..4), marked("one"))
        .await
        .unwrap();
    ledger
        .charge(charge(2, 0), &pay(5, 2..6), marked("two"))
        .await
        .unwrap();
    let expected = [10, 10, 15, 15, 5, 5, 0];
    for (number, &spent) in expected.iter().enumerate() {
        let id = device(number);
        assert!(
            ledger.can_pay(&id, 100 - spent, Some(100)),
            "{id} spent more than {spent}"
        );
        assert!(
            !ledger.can_pay(&id, 101 - spent, Some(100)),
            "{id} spent less than {spent}"
        );
    }
    assert!(is_marked(&store, "one") && is_marked(&store, "two"));
    assert_eq!(ledger.worst_of(&[region("eu"), region("us")]), 15);
    assert_eq!(ledger.worst_of(&[region("asia")]), 0);
}

#[tokio::test]
async fn invariant_3_a_charge_past_the_cap_changes_nothing_at_all() {
    let store = MemoryStore::new();
    let ledger = open(&store);
    ledger
        .charge(charge(1, 100), &pay(60, 0..1), Batch::new())
        .await
        .unwrap();
    // device 1 could pay, device 0 can't: neither does
    let refused = ledger
        .charge(charge(2, 100), &pay(41, 0..2), marked("round"))
        .await;
    let Err(CoordinatorError::Budget(message)) = refused else {
        panic!("{refused:?}")
    };
    assert!(
        message.contains("cap") && message.contains("raise privacy.epsilon"),
        "{message}"
    );
    assert!(
        !is_marked(&store, "round"),
        "the round moved on without its charge"
    );
    for ledger in [&ledger, &open(&store)] {
        assert!(ledger.can_pay(&device(0), 40, Some(100)));
        assert!(ledger.can_pay(&device(1), 100, Some(100)));
        assert_eq!(ledger.accounts(None, 1e-5)[0].charges, 1);
    }
    ledger
        .charge(charge(2, 100), &pay(40, 0..2), marked("round"))
        .await
        .unwrap();
    assert!(
        !ledger.can_pay(&device(0), 1, Some(100)),
        "exactly at the cap"
    );
}

#[tokio::test]
async fn the_same_round_is_never_charged_twice() {
    let store = MemoryStore::new();
    let ledger = open(&store);
    ledger
        .charge(charge(1, 0), &pay(10, 0..2), Batch::new())
        .await
        .unwrap();
    let again = ledger
        .charge(charge(1, 0), &pay(10, 0..2), marked("again"))
        .await;
    assert!(matches!(again, Err(CoordinatorError::Store(error)) if error.is_conflict()));
    assert_eq!(ledger.worst_of(&[region("eu")]), 10);
    assert!(!is_marked(&store, "again"));
    // another part of the same window is another charge
    let part = Charge {
        part: 1,
        kind: ChargeKind::Drift,
        ..charge(1, 0)
    };
    ledger
        .charge(part, &pay(10, 0..2), Batch::new())
        .await
        .unwrap();
    assert_eq!(ledger.worst_of(&[region("eu")]), 20);
}

#[tokio::test]
async fn a_run_is_shown_with_the_charges_of_its_monitor() {
    let store = MemoryStore::new();
    let ledger = open(&store);
    let of = |account: &str| Charge {
        account: account.to_owned(),
        ..charge(1, 0)
    };
    for account in ["watch-1", "watch-1-drift", "watch-12"] {
        ledger
            .charge(of(account), &pay(10, 0..1), Batch::new())
            .await
            .unwrap();
    }
    let shown = ledger.accounts(Some("watch-1"), 1e-5);
    let ids: Vec<&str> = shown.iter().map(|account| account.id.as_str()).collect();
    assert_eq!(ids, ["watch-1", "watch-1-drift"]);
}

#[tokio::test]
async fn a_charge_fails_with_the_batch_it_belongs_to() {
    let store = MemoryStore::new();
    let ledger = open(&store);
    store.commit(marked("taken")).await.unwrap();
    let refused = ledger
        .charge(charge(1, 0), &pay(10, 0..2), marked("taken"))
        .await;
    assert!(matches!(refused, Err(CoordinatorError::Store(_))));
    assert_eq!(ledger.worst_of(&[region("eu")]), 0);
    assert!(ledger.accounts(None, 1e-5).is_empty());
}

#[tokio::test]
async fn a_restart_keeps_totals_and_charges() {
    let store = MemoryStore::new();
    let before = open(&store);
    for round in 1..=12 {
        before
            .charge(charge(round, 0), &pay(7, 0..5), Batch::new())
            .await
            .unwrap();
    }
    let after = open(&store);
    assert_eq!(after.accounts(None, 1e-5), before.accounts(None, 1e-5));
    assert_eq!(after.worst(1e-5), before.worst(1e-5));
    assert_eq!(after.worst_by_region(1e-5), before.worst_by_region(1e-5));
    assert_eq!(after.worst_of(&[region("eu")]), 84);
    assert_eq!(after.accounts(Some("run-1"), 1e-5)[0].charges, 12);
    assert!(after.accounts(Some("run-2"), 1e-5).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_charges_lose_nothing_and_never_pass_the_cap() {
    let store = MemoryStore::new();
    let ledger = Arc::new(open(&store));
    let tasks: Vec<_> = (0..64)
        .map(|number| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                ledger
                    .charge(charge(number, 500), &pay(10, 0..3), Batch::new())
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

#[test]
fn an_unknown_device_has_the_whole_budget_and_no_sum_wraps_around() {
    let ledger = open(&MemoryStore::new());
    assert!(ledger.can_pay(&device(0), 5, Some(5)));
    assert!(!ledger.can_pay(&device(0), 6, Some(5)));
    assert!(ledger.can_pay(&device(0), u64::MAX, None));
}

fn stated(pico_rho: u64, delta: f64, mechanism: Mechanism) -> PrivacySpend {
    spend(pico_rho, delta, mechanism, Adjacency::AddOrRemoveDevice)
}

#[test]
fn a_statement_names_its_mechanism_and_never_hides_a_spend() {
    let nothing = stated(0, 1e-5, Mechanism::DiscreteGaussian);
    assert_eq!((nothing.epsilon, nothing.rho), (0.0, 0.0));
    let some = stated(100_000_000_000, 1e-5, Mechanism::DiscreteGaussian);
    assert!(some.epsilon > some.rho && some.epsilon_gaussian <= some.epsilon);
    assert!(!some.adjacency.is_empty() && some.delta == 1e-5);
    assert!(!some.not_private && !nothing.not_private);
    let seeded = stated(1, 1e-5, Mechanism::SeededNotPrivate);
    assert!(seeded.not_private && seeded.mechanism != some.mechanism);
    assert!(
        stated(u64::MAX, 0.0, Mechanism::DiscreteGaussian).epsilon > 1e3,
        "no delta, no small epsilon"
    );
}

#[tokio::test]
async fn a_release_without_noise_is_never_shown_as_costing_nothing() {
    let ledger = open(&MemoryStore::new());
    let unnoised = Charge {
        mechanism: Mechanism::None,
        ..charge(1, 0)
    };
    ledger
        .charge(unnoised, &pay(0, 0..2), Batch::new())
        .await
        .unwrap();
    let account = ledger.accounts(None, 1e-5).remove(0).spend.unwrap();
    let (worst, _) = ledger.worst(1e-5);
    for shown in [account, worst] {
        assert!(
            shown.epsilon.is_infinite() && shown.not_private,
            "{shown:?}"
        );
        assert_eq!(shown.mechanism, Mechanism::None.name());
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
                let one = ledger.charge(charge(index as u64, 0), &who, Batch::new());
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
