//! What is said about accounts: sums, what remains, mechanisms and adjacencies.

use tributary_privacy::{Adjacency, Mechanism, Rho, epsilon_gaussian};
use tributary_proto::v1::PrivacySpend;

use super::tests::{cap, charge, open, pay};
use super::*;
use crate::fixtures::{device, region};
use tributary_store::MemoryStore;

#[tokio::test]
async fn a_run_is_shown_with_the_charges_of_its_monitor() {
    let store = MemoryStore::new();
    let ledger = open(&store);
    let of = |account: &str| Charge {
        account: account.to_owned(),
        ..charge(1)
    };
    for account in ["watch-1", "watch-1-drift", "watch-12"] {
        ledger
            .charge(of(account), &pay(10, 0..1), Batch::new())
            .await
            .unwrap();
    }
    let shown = ledger.accounts(Some("watch-1"), |_| 1e-5);
    let ids: Vec<&str> = shown.iter().map(|account| account.id.as_str()).collect();
    assert_eq!(ids, ["watch-1", "watch-1-drift"]);
}

fn stated(pico_rho: u64, delta: f64, mechanism: Mechanism) -> PrivacySpend {
    spend(pico_rho, delta, mechanism, Adjacency::ZeroOutDevice, false)
}

#[test]
fn a_statement_names_its_mechanism_and_never_hides_a_spend() {
    let nothing = stated(0, 1e-5, Mechanism::DiscreteGaussian);
    assert_eq!((nothing.epsilon, nothing.rho), (0.0, 0.0));
    let some = stated(100_000_000_000, 1e-5, Mechanism::DiscreteGaussian);
    assert!(some.epsilon > some.rho && some.epsilon_gaussian.unwrap() <= some.epsilon);
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
        ..charge(1)
    };
    ledger
        .charge(unnoised, &pay(0, 0..2), Batch::new())
        .await
        .unwrap();
    let account = ledger.accounts(None, |_| 1e-5).remove(0).spend.unwrap();
    let (worst, _) = ledger.worst(1e-5);
    for shown in [account, worst] {
        assert!(
            shown.epsilon.is_infinite() && shown.not_private,
            "{shown:?}"
        );
        assert_eq!(shown.mechanism, Mechanism::None.name());
    }
}

#[tokio::test]
async fn what_remains_counts_what_a_device_spent_elsewhere_and_is_stated_at_the_delta_of_the_run() {
    let ledger = open(&MemoryStore::new());
    let of = |account: &str| Charge {
        account: account.to_owned(),
        ..charge(1)
    };
    cap(&ledger, 1_000_000_000_000).await;
    let some = pay(200_000_000_000, 0..2);
    ledger
        .charge(of("run-1"), &some, Batch::new())
        .await
        .unwrap();
    ledger
        .charge(of("run-2"), &some[..1], Batch::new())
        .await
        .unwrap();
    let delta = |run: &str| if run == "run-1" { 1e-5 } else { 1e-7 };
    let shown = ledger.accounts(None, delta);
    let left: Vec<f64> = shown.iter().map(|account| account.remaining_rho).collect();
    assert_eq!(left, [0.6, 0.6], "device 0 has spent in both");
    assert_eq!(shown[0].regions[0].remaining_rho, 0.6);
    assert_eq!(shown[0].regions[1].remaining_rho, 0.8);
    for (account, delta) in shown.iter().zip([1e-5, 1e-7]) {
        let spend = account.spend.as_ref().unwrap();
        assert_eq!(spend.delta, delta);
        let epsilon = |pico| stated(pico, delta, Mechanism::DiscreteGaussian).epsilon;
        let cap = epsilon(1_000_000_000_000);
        assert!((account.budget_epsilon - cap).abs() < 1e-6);
        let grows = cap - epsilon(400_000_000_000);
        assert!(
            (account.remaining_epsilon - grows).abs() < 1e-6,
            "{account:?}"
        );
    }
}

#[tokio::test]
async fn sums_of_different_mechanisms_name_all_of_them_and_the_relation_that_holds_for_all() {
    let ledger = open(&MemoryStore::new());
    let local = Charge {
        account: "run-2".to_owned(),
        mechanism: Mechanism::LocalGaussian,
        adjacency: Adjacency::ReplaceDevice,
        ..charge(1)
    };
    let some = pay(10, 0..1);
    ledger.charge(charge(1), &some, Batch::new()).await.unwrap();
    ledger.charge(local, &some, Batch::new()).await.unwrap();
    let of = |account: usize| {
        ledger.accounts(None, |_| 1e-5)[account]
            .spend
            .clone()
            .unwrap()
    };
    assert_eq!(of(0).adjacency, "zero-out-one-device");
    assert_eq!(of(1).adjacency, "replace-one-device");
    assert_eq!(of(1).mechanism, Mechanism::LocalGaussian.name());
    let (worst, _) = ledger.worst(1e-5);
    assert_eq!(worst.adjacency, "zero-out-one-device");
    for part in [Mechanism::LocalGaussian, Mechanism::DiscreteGaussian] {
        assert!(worst.mechanism.contains(part.name()), "{}", worst.mechanism);
    }
    let seeded = Charge {
        mechanism: Mechanism::SeededNotPrivate,
        ..charge(2)
    };
    ledger.charge(seeded, &some, Batch::new()).await.unwrap();
    let (worst, _) = ledger.worst(1e-5);
    assert!(worst.not_private && worst.mechanism == Mechanism::SeededNotPrivate.name());
}

/// P(X = x) of the discrete Gaussian of standard deviation 1/2, for x from -40 to 40.
fn half_a_vote() -> Vec<f64> {
    let weight = |x: i32| (-2.0 * f64::from(x * x)).exp();
    let all: f64 = (-40..=40).map(weight).sum();
    (-40..=40).map(|x| weight(x) / all).collect()
}

/// The delta at `epsilon` of two histograms with half a vote of noise, when a device moves one bin of
/// each by one: the sum of what P exceeds e^epsilon Q by, over all pairs of values.
fn true_delta(epsilon: f64) -> f64 {
    let pmf = half_a_vote();
    let pairs = || (1..pmf.len()).flat_map(|x| (1..pmf.len()).map(move |y| (x, y)));
    let excess = |(x, y): (usize, usize)| {
        let (with, without) = (pmf[x - 1] * pmf[y - 1], pmf[x] * pmf[y]);
        (with - epsilon.exp() * without).max(0.0)
    };
    pairs().map(excess).sum()
}

#[tokio::test]
async fn the_gaussian_curve_is_no_bound_for_half_a_vote_of_noise_so_it_is_left_out_for_votes() {
    // two quantities, sigma 1/2: rho = 2 / (2 / 4)
    let pico = 4_000_000_000_000;
    let curve = epsilon_gaussian(Rho::from_pico(pico), 1e-5).unwrap();
    assert!((curve - 15.456).abs() < 1e-3, "{curve}");
    let broken = true_delta(curve);
    assert!((2.3e-5..2.4e-5).contains(&broken), "{broken}");
    let ledger = open(&MemoryStore::new());
    let window = Charge::new("run-1-drift", ChargeKind::Drift, 1);
    ledger
        .charge(window, &pay(pico, 0..1), Batch::new())
        .await
        .unwrap();
    let account = ledger.accounts(None, |_| 1e-5).remove(0).spend.unwrap();
    let region = ledger.worst_by_region(1e-5).remove(0).spend.unwrap();
    for shown in [account, region, ledger.worst(1e-5).0] {
        assert_eq!(shown.epsilon_gaussian, None);
        assert!(true_delta(shown.epsilon) <= 1e-5, "what is quoted holds");
    }
    // a run whose clip moves by votes, and sums that both are in, leave it out too
    let moving = spend(
        pico,
        1e-5,
        Mechanism::DiscreteGaussian,
        Adjacency::ZeroOutDevice,
        true,
    );
    assert_eq!(moving.epsilon_gaussian, None);
    ledger
        .charge(charge(1), &pay(pico, 0..1), Batch::new())
        .await
        .unwrap();
    let accounts = ledger.accounts(Some("run-1"), |_| 1e-5).into_iter();
    let mut training = accounts.filter(|account| account.kind == "training");
    let training = training.next().unwrap().spend.unwrap();
    assert!(training.epsilon_gaussian.unwrap() < training.epsilon);
    assert_eq!(ledger.worst(1e-5).0.epsilon_gaussian, None);
}

#[tokio::test]
async fn only_the_region_whose_devices_met_known_or_no_noise_is_marked_not_private() {
    let store = MemoryStore::new();
    let ledger = open(&store);
    // device 0 is in eu, device 1 in us
    let both = pay(30, 0..2);
    ledger.charge(charge(1), &both, Batch::new()).await.unwrap();
    let seeded = Charge {
        account: "run-2".to_owned(),
        mechanism: Mechanism::SeededNotPrivate,
        ..charge(1)
    };
    ledger
        .charge(seeded, &pay(10, 1..2), Batch::new())
        .await
        .unwrap();
    for ledger in [&ledger, &open(&store)] {
        let regions = ledger.worst_by_region(1e-5);
        let marked: Vec<_> = regions
            .iter()
            .map(|at| (at.region.as_str(), at.spend.as_ref().unwrap().not_private))
            .collect();
        assert_eq!(marked, [("eu", false), ("us", true)]);
        let private = regions[0].spend.as_ref().unwrap();
        assert!(
            private.epsilon.is_finite() && private.mechanism == Mechanism::DiscreteGaussian.name()
        );
        let (worst, region) = ledger.worst(1e-5);
        assert!(worst.not_private && region == "us", "{worst:?}");
    }
    // a device takes what was done to it along
    ledger
        .relocate(
            &device(1),
            (&region("us"), &region("eu")),
            Batch::new(),
            || (),
        )
        .await
        .unwrap();
    let regions = ledger.worst_by_region(1e-5);
    assert_eq!(regions.len(), 1);
    assert!(regions[0].region == "eu" && regions[0].spend.as_ref().unwrap().not_private);
}

#[tokio::test]
async fn of_devices_with_nothing_left_the_one_that_spent_most_is_told() {
    let ledger = open(&MemoryStore::new());
    ledger
        .charge(charge(1), &pay(10, 0..8), Batch::new())
        .await
        .unwrap();
    ledger
        .charge(charge(2), &pay(30, 4..5), Batch::new())
        .await
        .unwrap();
    cap(&ledger, 7).await;
    let regions = [region("eu"), region("mars")];
    let headroom = ledger.hold().await.headroom(&regions, &[]);
    let told = (headroom.left, headroom.spent, headroom.taken);
    assert_eq!(told, (Some(0), 40, 40));
    assert_eq!(
        (
            ledger.beyond_caps(None),
            ledger.beyond_caps(Some(&regions[0]))
        ),
        (8, 4)
    );
}
