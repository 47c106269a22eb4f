use proptest::prelude::*;

use super::discretise::upper_tail;
use super::*;
use crate::accountant::{RdpCurve, default_orders, gaussian_delta, gaussian_noise_multiplier};

fn step(q: f64, z: f64) -> PoissonGaussian {
    PoissonGaussian::new(q, z).unwrap()
}

fn pld(q: f64, z: f64) -> LossDistribution {
    LossDistribution::new(&step(q, z)).unwrap()
}

#[test]
fn a_delta_at_epsilon_zero_is_a_number_by_every_accountant() {
    let exact = gaussian_delta(1.0, 0.0).unwrap();
    let by_pld = pld(1.0, 1.0).delta(1, 0.0).unwrap().delta;
    assert!(by_pld >= exact && by_pld < exact + 1e-3, "{by_pld} {exact}");
    let curve = RdpCurve::poisson_gaussian(&step(1.0, 1.0), 1, &default_orders()).unwrap();
    let by_rdp = curve.delta(0.0).unwrap().delta;
    assert!((exact..1.0).contains(&by_rdp), "{by_rdp}");
    for bad in [-1e-9, f64::NAN, f64::INFINITY] {
        assert!(pld(1.0, 1.0).delta(1, bad).is_err() && curve.delta(bad).is_err());
    }
}

/// The exact delta of one step at any epsilon, of either sign, on removal.
fn exact_removal(q: f64, z: f64, epsilon: f64) -> f64 {
    let odds = (epsilon.exp_m1() + q) / q;
    if odds <= 0.0 {
        return -epsilon.exp_m1();
    }
    let x = z * z * odds.ln() + 0.5;
    let without = upper_tail(x / z);
    let with = (1.0 - q) * without + q * upper_tail((x - 1.0) / z);
    with - epsilon.exp() * without
}

/// The exact delta on addition: the same curve read from the other side.
fn exact_addition(q: f64, z: f64, epsilon: f64) -> f64 {
    1.0 - epsilon.exp() + epsilon.exp() * exact_removal(q, z, -epsilon)
}

/// The exact delta of two steps on removal: the mean over the first step's loss of the second
/// step's delta at what is left, by a fine midpoint sum.
fn exact_two_removals(q: f64, z: f64, epsilon: f64) -> f64 {
    let points = 20_000;
    let (left, right) = (-12.0 * z, 1.0 + 12.0 * z);
    let width = (right - left) / f64::from(points);
    let scale = width / (z * (2.0 * std::f64::consts::PI).sqrt());
    let mut sum = 0.0;
    for point in 0..points {
        let x = left + (f64::from(point) + 0.5) * width;
        let ratio = 1.0 + q * ((x - 0.5) / (z * z)).exp_m1();
        let density = scale * (-0.5 * (x / z).powi(2)).exp() * ratio;
        sum += density * exact_removal(q, z, epsilon - ratio.ln());
    }
    sum
}

#[test]
fn bad_requests_name_what_to_change() {
    let loss = pld(0.1, 1.0);
    assert_eq!(loss.epsilon(0, 1e-5), Err(AccountingError::NoSteps));
    assert_eq!(loss.delta(0, 1.0), Err(AccountingError::NoSteps));
    for bad in [0.0, 1.0, -1.0, f64::NAN] {
        assert!(loss.epsilon(1, bad).is_err());
    }
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(bad == 0.0 || loss.delta(1, bad).is_err());
        assert!(LossDistribution::with_grid(&step(0.1, 1.0), bad).is_err());
    }
    let error = loss.epsilon(1 << 40, 1e-5).unwrap_err();
    assert!(matches!(error, AccountingError::TooManySteps { .. }));
    let error = loss.epsilon(10, 1e-33).unwrap_err();
    assert!(
        matches!(error, AccountingError::DeltaTooSmall { .. }),
        "{error}"
    );
}

#[test]
fn a_run_with_nobody_in_it_costs_nothing() {
    let loss = pld(0.0, 1.0);
    assert_eq!(loss.epsilon(1000, 1e-9).unwrap().epsilon, 0.0);
    assert_eq!(loss.delta(1000, 0.1).unwrap().delta, 0.0);
}

#[test]
fn two_steps_agree_with_a_double_integral() {
    for (q, z) in [(0.01, 0.5), (0.1, 1.0), (0.5, 2.0)] {
        let loss = pld(q, z);
        for epsilon in [0.05, 0.3, 1.0, 2.5] {
            let exact = exact_two_removals(q, z, epsilon);
            let found = loss.delta(2, epsilon).unwrap().delta;
            assert!(found >= exact * (1.0 - 1e-7), "{found} {exact}");
            assert!(found <= exact * (1.0 + 1e-4) + 1e-12, "{found} {exact}");
        }
    }
}

#[test]
fn losses_too_wide_for_the_grid_are_put_on_a_coarser_one() {
    // 3,000 steps of rho 50 each: a Gaussian of multiplier 0.1 / sqrt(3000)
    let z = 0.1;
    let found = pld(1.0, z).epsilon(3000, 1e-6).unwrap();
    assert!(matches!(found.accountant, Accountant::Pld { grid } if grid > DEFAULT_GRID));
    let exact = 150_000.0 + 547.722_557 * 4.753_424;
    assert!(
        found.epsilon > exact - 2.0 && found.epsilon < exact * 1.001,
        "{found} {exact}"
    );
    // and the smallest noise that is accepted at all
    let found = pld(0.5, 0.01).epsilon(1, 1e-6).unwrap();
    assert!(found.epsilon > 5000.0 && found.epsilon < 6000.0, "{found}");
}

#[test]
fn tiny_deltas_keep_their_accuracy() {
    for delta in [1e-20, 1e-28] {
        let z = gaussian_noise_multiplier(3.0, delta).unwrap();
        let found = pld(1.0, z * 10.0).epsilon(100, delta).unwrap().epsilon;
        assert!(
            (3.0 * (1.0 - 1e-7)..3.003).contains(&found),
            "{found} {delta:e}"
        );
    }
}

#[test]
fn a_finer_grid_is_tighter_where_steps_cost_less_than_the_grid() {
    let rare = step(1e-4, 1.0);
    let coarse = LossDistribution::with_grid(&rare, 1e-3).unwrap();
    let fine = LossDistribution::with_grid(&rare, 2e-5).unwrap();
    let at = |loss: &LossDistribution| loss.epsilon(10_000, 1e-8).unwrap().epsilon;
    let (coarse, middle, fine) = (at(&coarse), at(&pld(1e-4, 1.0)), at(&fine));
    assert!(fine < middle && middle < coarse, "{fine} {middle} {coarse}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn one_step_is_the_larger_of_the_exact_curves_and_never_below(
        log_q in -7.0f64..-0.01,
        z in 0.3f64..5.0,
        epsilon in 0.001f64..3.0,
    ) {
        let q = log_q.exp();
        let exact = exact_removal(q, z, epsilon).max(exact_addition(q, z, epsilon));
        prop_assume!(exact > 1e-12);
        let found = pld(q, z).delta(1, epsilon).unwrap().delta;
        prop_assert!(found >= exact * (1.0 - 1e-9) - 1e-15, "{found} {exact}");
        prop_assert!(found <= exact * 1.001, "{found} {exact}");
    }

    #[test]
    fn all_devices_in_every_step_is_the_gaussian_curve(
        z in 0.5f64..20.0,
        steps in 1u64..1000,
        log_delta in -23.0f64..-5.0,
    ) {
        let delta = log_delta.exp();
        let found = pld(1.0, z).epsilon(steps, delta).unwrap().epsilon;
        let whole = z / (steps as f64).sqrt();
        prop_assume!(found > 1e-2 && found < 500.0);
        prop_assert!(gaussian_delta(whole, found).unwrap() <= delta * (1.0 + 1e-9));
        let less = found * (1.0 - 1e-3);
        prop_assert!(gaussian_delta(whole, less).unwrap() >= delta);
    }

    #[test]
    fn it_is_never_looser_than_rdp_and_grows_with_rate_steps_and_less_noise(
        log_q in -7.0f64..-0.01,
        z in 0.5f64..5.0,
        steps in 1u64..2000,
        log_delta in -20.0f64..-5.0,
        more in 1.05f64..2.0,
    ) {
        let (q, delta) = (log_q.exp(), log_delta.exp());
        let of = |q: f64, z: f64, steps: u64| {
            pld(q, z).epsilon(steps, delta).unwrap().epsilon
        };
        let here = of(q, z, steps);
        let orders = default_orders();
        let curve = RdpCurve::poisson_gaussian(&step(q, z), steps, &orders).unwrap();
        let rdp = curve.epsilon(delta).unwrap().epsilon;
        prop_assert!(here <= rdp * (1.0 + 1e-6), "{here} {rdp}");
        // orders up to 1024 only: where epsilon is tiny, RDP is far off
        prop_assert!(here > 0.0 || rdp < 1.0);
        let slack = 1.0 + 1e-6;
        prop_assert!(here <= of((q * more).min(1.0), z, steps) * slack);
        prop_assert!(here <= of(q, z, (steps as f64 * more).ceil() as u64) * slack);
        prop_assert!(of(q, z * more, steps) <= here * slack);
    }

    #[test]
    fn epsilon_and_delta_convert_back_and_forth(
        q in 0.001f64..1.0,
        z in 0.5f64..5.0,
        steps in 1u64..500,
        log_delta in -25.0f64..-3.0,
    ) {
        let delta = log_delta.exp();
        let loss = pld(q, z);
        let epsilon = loss.epsilon(steps, delta).unwrap().epsilon;
        prop_assume!(epsilon > 1e-3);
        let back = loss.delta(steps, epsilon).unwrap().delta;
        prop_assert!((back / delta - 1.0).abs() < 1e-4, "{back} {delta}");
    }
}
