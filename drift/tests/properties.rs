//! Properties that hold for any counts and any sequence of events.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a failed unwrap fails the test

use proptest::prelude::*;
use tributary_drift::{
    Calibrator, DriftError, Histogram, MonitorConfig, Quantity, RegionMonitor, Verdict,
    debiased_js_distance, debiased_psi, effect, js_distance, psi, wald,
};

fn histogram(counts: &[i64], noise_variance: f64, private: bool) -> Histogram {
    let quantity = Quantity::prediction("class", counts.len() - 1).unwrap();
    if private {
        return Histogram::with_private_devices(&quantity, counts.to_vec(), noise_variance)
            .unwrap();
    }
    let devices = counts.iter().sum::<i64>().unsigned_abs();
    Histogram::new(&quantity, counts.to_vec(), devices, noise_variance).unwrap()
}

/// Two sides of 2 to 9 bins, with counts that are also zero, rare and huge.
fn sides() -> impl Strategy<Value = (Vec<i64>, Vec<i64>)> {
    let count = prop_oneof![Just(0_i64), 0_i64..5, 0_i64..3000, 0_i64..1_000_000_000];
    (3_usize..9).prop_flat_map(move |bins| {
        let side = proptest::collection::vec(count.clone(), bins);
        (side.clone(), side)
    })
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-7 * (1.0 + a.abs().max(b.abs()))
}

proptest! {
    #[test]
    fn statistics_are_symmetric_finite_and_blind_to_the_order_of_bins(
        (x, y) in sides(),
        variance in prop_oneof![Just(0.0), 0.5_f64..1000.0],
        private in any::<bool>(),
        turn in 0_usize..9,
    ) {
        let build = |counts: &[i64]| histogram(counts, variance, private);
        let (a, b) = (build(&x), build(&y));
        if a.devices() == 0 || b.devices() == 0 {
            let refused = matches!(wald(&a, &b), Err(DriftError::Empty { .. }));
            prop_assert!(refused);
            return Ok(());
        }
        let forward = wald(&a, &b).unwrap();
        prop_assert!(forward.statistic.is_finite() && forward.statistic >= 0.0);
        prop_assert!((0.0..=1.0).contains(&forward.p_value));
        prop_assert!(close(forward.statistic, wald(&b, &a).unwrap().statistic));
        let rotate = |counts: &[i64]| {
            let mut turned = counts.to_vec();
            turned.rotate_left(turn % counts.len());
            build(&turned)
        };
        let (c, d) = (rotate(&x), rotate(&y));
        prop_assert!(close(forward.statistic, wald(&c, &d).unwrap().statistic));
        prop_assert!(close(psi(&a, &b).unwrap(), psi(&c, &d).unwrap()));
        prop_assert!(close(js_distance(&a, &b).unwrap(), js_distance(&c, &d).unwrap()));
        prop_assert!(debiased_psi(&a, &b).unwrap() <= psi(&a, &b).unwrap());
        let js = js_distance(&a, &b).unwrap();
        prop_assert!((0.0..=0.832_554_612).contains(&js));
        prop_assert!(debiased_js_distance(&a, &b).unwrap().is_finite());
        prop_assert!(effect(&a, &b).unwrap().mean_shift_bins.abs() <= x.len() as f64);
    }

    #[test]
    fn equal_sides_never_differ(x in sides(), variance in 0.0_f64..1000.0) {
        let side = histogram(&x.0, variance, false);
        prop_assume!(side.devices() > 0);
        let found = wald(&side, &side).unwrap();
        prop_assert!(found.statistic.abs() < 1e-9 && found.p_value > 0.999_999);
        prop_assert_eq!(debiased_psi(&side, &side).unwrap(), 0.0);
    }

    #[test]
    fn merging_adds_in_any_order_and_refuses_other_edges(
        sums in proptest::collection::vec(proptest::collection::vec(0_i64..1000, 4), 1..8),
        edge in 1.0_f64..2.0,
    ) {
        let merged = |rows: &mut dyn Iterator<Item = &Vec<i64>>| {
            let mut sum = histogram(&[0; 4], 0.0, false);
            for row in rows {
                sum.merge(&histogram(row, 2.0, false)).unwrap();
            }
            sum
        };
        let forward = merged(&mut sums.iter());
        prop_assert_eq!(&forward, &merged(&mut sums.iter().rev()));
        prop_assert_eq!(forward.noise_variance(), 2.0 * sums.len() as f64);
        let mut one = Histogram::empty(&Quantity::with_edges("q", vec![0.0, 1.0]).unwrap());
        let other = Histogram::vote(&Quantity::with_edges("q", vec![0.0, edge + 1e-9]).unwrap(), 0.5);
        let before = one.clone();
        let refused = matches!(one.merge(&other), Err(DriftError::DifferentQuantities { .. }));
        prop_assert!(refused && one == before);
    }

    #[test]
    fn any_value_has_exactly_one_bin_and_nan_the_missing_one(
        mut edges in proptest::collection::vec(-1e6_f64..1e6, 1..12),
        value in any::<f64>(),
    ) {
        edges.sort_by(f64::total_cmp);
        edges.dedup();
        let quantity = Quantity::with_edges("q", edges.clone()).unwrap();
        let vote = Histogram::vote(&quantity, value);
        prop_assert_eq!(vote.counts().iter().sum::<i64>(), 1);
        let bin = quantity.bin_of(value);
        prop_assert_eq!(bin == quantity.missing_bin(), value.is_nan());
        prop_assert_eq!(quantity.bin_of(f64::NAN), quantity.missing_bin());
        if !value.is_nan() {
            prop_assert!(bin == 0 || edges[bin - 1] <= value);
            prop_assert!(bin == edges.len() || value < edges[bin]);
        }
    }

    #[test]
    fn any_bytes_read_as_a_histogram_or_a_typed_refusal(
        counts in proptest::collection::vec(any::<i64>(), 0..6),
        devices in any::<u64>(),
        noise in any::<f64>(),
    ) {
        let json = serde_json::json!({
            "quantity": "q@0", "counts": counts, "devices": devices, "noise_variance": noise,
        });
        if let Ok(mut histogram) = serde_json::from_value::<Histogram>(json) {
            let copy = histogram.clone();
            let sum = histogram.merge(&copy);
            prop_assert!(sum.is_ok() || histogram == copy);
            prop_assert!(wald(&histogram, &copy).map_or(true, |test| !test.statistic.is_nan()));
        }
    }
}

/// What may happen to a region.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// `first` of 1,000 devices vote for the first class; 442 is a mild shift, 200 a large one.
    Window {
        first: u64,
        devices: u64,
    },
    Silence,
    Begin,
    Mitigated,
    Validated,
    Failed,
    Rebase,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (prop_oneof![Just(200_u64), Just(442), Just(500)], prop_oneof![Just(10_u64), Just(1000)])
            .prop_map(|(first, devices)| Event::Window { first, devices }),
        1 => Just(Event::Silence),
        2 => Just(Event::Begin),
        2 => Just(Event::Mitigated),
        2 => Just(Event::Validated),
        1 => Just(Event::Failed),
        1 => Just(Event::Rebase),
    ]
}

fn apply(
    monitor: &mut RegionMonitor,
    event: Event,
    window: u64,
    calibrator: &mut Calibrator,
) -> bool {
    let quantity = Quantity::prediction("class", 2).unwrap();
    let drift = monitor.drift().cloned();
    match (event, drift) {
        (Event::Window { first, devices }, _) => {
            let first = (devices * first / 1000) as i64;
            let counts = vec![first, devices as i64 - first, 0];
            let histogram = Histogram::new(&quantity, counts, devices, 0.0).unwrap();
            monitor.observe(window, &[histogram], calibrator).is_ok()
        }
        (Event::Silence, _) => monitor.observe(window, &[], calibrator).is_ok(),
        (Event::Rebase, _) => monitor.rebase().0 > 1,
        (_, None) => false,
        (Event::Begin, Some(drift)) => monitor.begin_mitigation(&drift).is_ok(),
        (Event::Mitigated, Some(drift)) => monitor.mitigated(&drift).is_ok(),
        (Event::Validated, Some(drift)) => monitor.validated(&drift).is_ok(),
        (Event::Failed, Some(drift)) => monitor.mitigation_failed(&drift).is_ok(),
    }
}

#[test]
fn any_sequence_of_events_takes_only_legal_steps() {
    let mut calibrator = Calibrator::new();
    let mut reached = std::collections::BTreeSet::new();
    let config = proptest::test_runner::Config {
        failure_persistence: None,
        ..Default::default()
    };
    let algorithm = proptest::test_runner::RngAlgorithm::ChaCha;
    let rng = proptest::test_runner::TestRng::deterministic_rng(algorithm);
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(config, rng);
    let events = proptest::collection::vec(event(), 1..60);
    let cell = std::cell::RefCell::new((&mut calibrator, &mut reached));
    let outcome = runner.run(&events, |events| {
        let (calibrator, reached) = &mut *cell.borrow_mut();
        let quantities = vec![Quantity::prediction("class", 2).unwrap()];
        let config = MonitorConfig {
            horizon: 20,
            ..MonitorConfig::default()
        };
        let mut monitor = RegionMonitor::new("west", quantities, config).unwrap();
        for (window, event) in events.into_iter().enumerate() {
            let before = monitor.clone();
            let accepted = apply(&mut monitor, event, window as u64, calibrator);
            prop_assert!(
                accepted || monitor == before,
                "{event:?} was refused but left a trace"
            );
            let (from, to) = (before.state(), monitor.state());
            prop_assert!(from.may_become(to), "{event:?}: {from} -> {to}");
            prop_assert!(to != Verdict::InsufficientData);
            if monitor.verdict() == Verdict::InsufficientData
                && matches!(event, Event::Window { .. })
            {
                prop_assert_eq!(from, to);
            }
            let open = [Verdict::Drift, Verdict::Mitigating, Verdict::Validating];
            prop_assert!(!open.contains(&to) || monitor.drift().is_some());
            reached.insert(monitor.verdict());
        }
        Ok(())
    });
    outcome.unwrap();
    assert_eq!(
        reached.len(),
        8,
        "the test is blind to some states: {reached:?}"
    );
}
