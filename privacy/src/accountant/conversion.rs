//! From zCDP to (epsilon, delta) and back.

use std::sync::{Mutex, PoisonError};

use opendp::combinators::make_zCDP_to_approxDP;
use opendp::core::{Function, Measurement, PrivacyMap};
use opendp::domains::AtomDomain;
use opendp::measures::ZeroConcentratedDivergence;
use opendp::metrics::DiscreteDistance;

use super::{AccountingError, check_delta, check_epsilon};
use crate::rho::Rho;

/// The epsilon of a `rho`-zCDP mechanism at `delta`, for any mechanism: the least over alpha > 1 of
///
/// alpha rho + ln(1 - 1/alpha) - ln(alpha delta) / (alpha - 1)
///
/// (Canonne, Kamath, Steinke 2020, proposition 12 with the Renyi curve alpha rho; the same value as
/// inverting their corollary 13). It is 0 for rho 0.
///
/// # Errors
/// [`AccountingError::BadDelta`].
pub fn epsilon_cks20(rho: Rho, delta: f64) -> Result<f64, AccountingError> {
    check_delta(delta)?;
    if rho == Rho::ZERO {
        return Ok(0.0);
    }
    Ok(cks20(rho.as_f64(), delta))
}

fn cks20(rho: f64, delta: f64) -> f64 {
    let log_inverse_delta = -delta.ln();
    // The derivative in x = alpha - 1 has the sign of rho x^2 + ln(1 + x) - ln(1/delta), which
    // grows with x: bisect its only root. At the upper end the first term alone reaches ln(1/delta).
    let (mut low, mut high) = (0.0f64, (log_inverse_delta / rho).sqrt());
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle == low || middle == high {
            break;
        }
        if rho * middle * middle + middle.ln_1p() < log_inverse_delta {
            low = middle;
        } else {
            high = middle;
        }
    }
    // any x gives a valid epsilon, so an inexact root costs tightness only
    let x = high;
    let alpha = 1.0 + x;
    let epsilon = alpha * rho + (x.ln() - x.ln_1p()) + (log_inverse_delta - x.ln_1p()) / x;
    epsilon.max(0.0)
}

/// The textbook conversion rho + 2 sqrt(rho ln(1 / delta)) (Bun and Steinke 2016, proposition 1.3):
/// valid for any `rho`-zCDP mechanism and always above [`epsilon_cks20`]. Kept to compare with
/// published figures, which often used it.
///
/// # Errors
/// [`AccountingError::BadDelta`].
pub fn epsilon_bun_steinke(rho: Rho, delta: f64) -> Result<f64, AccountingError> {
    check_delta(delta)?;
    let rho = rho.as_f64();
    Ok(rho + 2.0 * (-rho * delta.ln()).sqrt())
}

/// opendp takes the process's panic hook, sets one that says nothing, and puts the old one back. Two
/// threads that do so at once may put the silent one back for good.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The same conversion by opendp, which rounds conservatively; some milliseconds a call.
///
/// # Errors
/// [`AccountingError::BadDelta`]; [`AccountingError::OpenDp`], as for a rho of a million, where its
/// arithmetic overflows.
pub fn epsilon_opendp(rho: Rho, delta: f64) -> Result<f64, AccountingError> {
    check_delta(delta)?;
    let loss = rho.as_f64();
    let convert = || {
        // a mechanism that does nothing but cost rho
        let charge = Measurement::new(
            AtomDomain::<bool>::default(),
            DiscreteDistance,
            ZeroConcentratedDivergence,
            Function::new(|_: &bool| ()),
            PrivacyMap::new(move |_: &u32| loss),
        )?;
        make_zCDP_to_approxDP(charge)?.map(&1)?.epsilon(delta)
    };
    let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let converted = convert();
    drop(turn);
    converted.map_err(|error: opendp::error::Error| AccountingError::OpenDp {
        rho,
        reason: error.to_string(),
    })
}

/// The largest rho whose [`epsilon_cks20`] at `delta` is at most `epsilon`: the budget that a target
/// epsilon buys.
///
/// # Errors
/// [`AccountingError::BadEpsilon`], [`AccountingError::BadDelta`].
pub fn rho_for_epsilon(epsilon: f64, delta: f64) -> Result<Rho, AccountingError> {
    check_epsilon(epsilon)?;
    check_delta(delta)?;
    // epsilon grows with rho: bisect on the integers, keeping `low` affordable
    let (mut low, mut high) = (0u64, u64::MAX);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if cks20(Rho::from_pico(middle).as_f64(), delta) <= epsilon {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(Rho::from_pico(low))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_loss_is_epsilon_zero() {
        assert_eq!(epsilon_cks20(Rho::ZERO, 1e-5), Ok(0.0));
        assert_eq!(epsilon_opendp(Rho::ZERO, 1e-5), Ok(0.0));
    }

    #[test]
    fn impossible_targets_are_refused() {
        for delta in [0.0, 1.0, -1.0, f64::NAN] {
            assert!(epsilon_cks20(Rho::from_pico(1), delta).is_err());
            assert!(epsilon_opendp(Rho::from_pico(1), delta).is_err());
            assert!(rho_for_epsilon(1.0, delta).is_err());
        }
        for epsilon in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(rho_for_epsilon(epsilon, 1e-5).is_err());
        }
    }

    #[test]
    fn our_conversion_agrees_with_opendp() {
        for rho in [1e-12, 1e-9, 1e-6, 1e-3, 0.02, 0.5, 1.86, 30.0, 1e3] {
            for delta in [1e-3, 1e-5, 1e-10] {
                let rho = Rho::from_f64(rho).unwrap();
                let ours = epsilon_cks20(rho, delta).unwrap();
                let theirs = epsilon_opendp(rho, delta).unwrap();
                assert!(
                    (ours - theirs).abs() <= 1e-9 * ours.max(1e-3),
                    "{ours} {theirs}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn the_conversion_is_the_least_over_all_orders(
            log_rho in -12.0f64..3.0,
            log_delta in -28.0f64..-3.0,
            order in 1e-3f64..1e3,
        ) {
            let (rho, delta) = (log_rho.exp(), log_delta.exp());
            let alpha = 1.0 + order;
            let other = alpha * rho + (1.0 - 1.0 / alpha).ln() - (alpha * delta).ln() / order;
            prop_assert!(cks20(rho, delta) <= other.max(0.0) + 1e-9);
        }

        #[test]
        fn the_budget_of_an_epsilon_is_the_largest_that_keeps_it(
            epsilon in 0.01f64..50.0,
            log_delta in -28.0f64..-3.0,
        ) {
            let delta = log_delta.exp();
            let rho = rho_for_epsilon(epsilon, delta).unwrap();
            prop_assert!(epsilon_cks20(rho, delta).unwrap() <= epsilon);
            let more = Rho::from_pico(rho.pico() + 1);
            prop_assert!(epsilon_cks20(more, delta).unwrap() > epsilon);
        }
    }
}
