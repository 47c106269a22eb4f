use proptest::prelude::*;

use super::*;
use crate::Rho;
use crate::accountant::{epsilon_cks20, epsilon_gaussian};

fn poisson(q: f64, z: f64, steps: u64) -> RdpCurve {
    let step = PoissonGaussian::new(q, z).unwrap();
    RdpCurve::poisson_gaussian(&step, steps, &default_orders()).unwrap()
}

#[test]
fn bad_requests_name_what_to_change() {
    let step = PoissonGaussian::new(0.1, 1.0).unwrap();
    let sample = FixedSizeGaussian::new(10, 2, 1.0).unwrap();
    let orders = default_orders();
    let empty = Err(AccountingError::NoSteps);
    assert_eq!(RdpCurve::poisson_gaussian(&step, 0, &orders), empty);
    assert_eq!(RdpCurve::fixed_size_gaussian(&sample, 0, &orders), empty);
    assert_eq!(RdpCurve::tree(1.0, 0, &orders), empty);
    let adjacency = Adjacency::ZeroOutDevice;
    assert_eq!(RdpCurve::gaussian(1.0, 0, adjacency, &orders), empty);
    assert!(RdpCurve::gaussian(0.0, 1, adjacency, &orders).is_err());
    let none = RdpCurve::poisson_gaussian(&step, 1, &[]);
    assert_eq!(none, Err(AccountingError::NoOrders));
    for order in [1.0, 0.5, f64::NAN, f64::INFINITY, 1e6] {
        assert!(RdpCurve::fixed_size_gaussian(&sample, 1, &[2.0, order]).is_err());
    }
    let curve = poisson(0.1, 1.0, 1);
    for delta in [0.0, 1.0, f64::NAN] {
        assert!(curve.epsilon(delta).is_err());
    }
    for epsilon in [f64::NAN, -1.0, f64::INFINITY] {
        assert!(curve.delta(epsilon).is_err());
    }
}

#[test]
fn only_curves_of_one_kind_compose() {
    let orders = default_orders();
    let curve = poisson(0.1, 1.0, 1);
    let tree = RdpCurve::tree(1.0, 5, &orders).unwrap();
    let error = curve.clone().then(tree).unwrap_err();
    assert!(error.to_string().contains("adjacency"), "{error}");
    let step = PoissonGaussian::new(0.1, 1.0).unwrap();
    let other = RdpCurve::poisson_gaussian(&step, 1, &[2.0]).unwrap();
    let error = curve.then(other).unwrap_err();
    assert!(error.to_string().contains("orders"), "{error}");
}

#[test]
fn a_run_with_nobody_in_it_costs_nothing() {
    let guarantee = poisson(0.0, 1.0, 1000).epsilon(1e-5).unwrap();
    assert_eq!(guarantee.epsilon, 0.0);
    assert_eq!(poisson(0.0, 1.0, 1000).delta(1.0).unwrap().delta, 0.0);
}

#[test]
fn losses_beyond_the_range_of_floats_are_still_an_epsilon() {
    let epsilon = poisson(1.0, 0.01, u64::MAX).epsilon(1e-5).unwrap().epsilon;
    assert!(epsilon.is_finite() && epsilon > 1e20);
    let epsilon = poisson(1e-9, 0.01, 1).epsilon(1e-5).unwrap().epsilon;
    assert!(epsilon.is_finite());
}

proptest! {
    #[test]
    fn composing_runs_is_running_longer(
        q in 0.001f64..1.0,
        z in 0.5f64..10.0,
        first in 1u64..1000,
        second in 1u64..1000,
    ) {
        let both = poisson(q, z, first).then(poisson(q, z, second)).unwrap();
        let whole = poisson(q, z, first + second);
        for (sum, expected) in both.losses().iter().zip(whole.losses()) {
            prop_assert!((sum / expected - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn epsilon_and_delta_convert_back_and_forth(
        q in 0.001f64..1.0,
        z in 0.5f64..10.0,
        steps in 1u64..1000,
        log_delta in -25.0f64..-3.0,
    ) {
        let curve = poisson(q, z, steps);
        let delta = log_delta.exp();
        let epsilon = curve.epsilon(delta).unwrap().epsilon;
        prop_assume!(epsilon > 0.0);
        let back = curve.delta(epsilon).unwrap().delta;
        prop_assert!((back / delta - 1.0).abs() < 1e-6, "{back} {delta}");
    }

    #[test]
    fn the_default_orders_lose_little_against_all_orders(
        z in 0.3f64..10.0,
        steps in 1u64..100,
        log_delta in -25.0f64..-5.0,
    ) {
        let rho = Rho::from_f64(steps as f64 / (2.0 * z * z)).unwrap();
        let delta = log_delta.exp();
        let found = poisson(1.0, z, steps).epsilon(delta).unwrap().epsilon;
        prop_assert!(found >= epsilon_cks20(rho, delta).unwrap() - 1e-9);
        prop_assert!(found >= epsilon_gaussian(rho, delta).unwrap() - 1e-9);
    }
}
