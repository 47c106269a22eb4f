//! The exact privacy curve of the Gaussian mechanism.

use statrs::function::erf::erfc;

use super::conversion::epsilon_cks20;
use super::{AccountingError, check_delta, check_epsilon, check_epsilon_of_delta};
use crate::rho::Rho;

/// Beyond this epsilon the curve's terms leave the range of f64; CKS20 is used, a valid bound.
const LARGEST_EPSILON: f64 = 600.0;

/// The delta of a Gaussian release with noise `noise_multiplier` times the L2 sensitivity:
///
/// Phi(1/(2z) - epsilon z) - e^epsilon Phi(-1/(2z) - epsilon z)
///
/// (Balle and Wang 2018, theorem 8).
///
/// # Errors
/// [`AccountingError::BadParameter`] unless the multiplier is finite and above 0;
/// [`AccountingError::BadEpsilon`] unless epsilon is finite and at least 0.
pub fn gaussian_delta(noise_multiplier: f64, epsilon: f64) -> Result<f64, AccountingError> {
    check_epsilon_of_delta(epsilon)?;
    if !noise_multiplier.is_finite() || noise_multiplier <= 0.0 {
        let field = "noise multiplier";
        return Err(AccountingError::BadParameter {
            field,
            value: noise_multiplier,
        });
    }
    Ok(curve(noise_multiplier, epsilon))
}

fn curve(z: f64, epsilon: f64) -> f64 {
    let near = upper_tail(epsilon * z - 0.5 / z);
    let far = upper_tail(epsilon * z + 0.5 / z);
    // e^epsilon far <= near <= 1; for a far tail below the range of f64 the term is dropped, which
    // can only raise delta
    let second = if far > 0.0 {
        (epsilon + far.ln()).exp()
    } else {
        0.0
    };
    (near - second).clamp(0.0, 1.0)
}

/// P(N(0,1) > x)
fn upper_tail(x: f64) -> f64 {
    0.5 * erfc(x / std::f64::consts::SQRT_2)
}

/// The epsilon at `delta` of any composition of Gaussian releases whose charges sum to `rho`, on one
/// adjacency: the curve of one Gaussian with multiplier 1 / sqrt(2 rho), inverted by bisection and
/// rounded up.
///
/// Tighter than [`epsilon_cks20`], but it is the curve of the continuous Gaussian. The discrete one
/// approaches it as sigma grows; the proven bound for what is released here stays
/// [`epsilon_cks20`], and both are reported. Where the curve leaves the range
/// of f64 (epsilon near 600) the result is that of [`epsilon_cks20`].
///
/// # Errors
/// [`AccountingError::BadDelta`].
pub fn epsilon_gaussian(rho: Rho, delta: f64) -> Result<f64, AccountingError> {
    let bound = epsilon_cks20(rho, delta)?;
    if rho == Rho::ZERO || bound >= LARGEST_EPSILON {
        return Ok(bound);
    }
    let z = 1.0 / (2.0 * rho.as_f64()).sqrt();
    // curve(high) <= delta always holds: the zCDP bound covers the Gaussian
    let (mut low, mut high) = (0.0f64, bound);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle == low || middle == high {
            break;
        }
        if curve(z, middle) > delta {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(high)
}

/// The smallest noise multiplier z at which one Gaussian release is (`epsilon`, `delta`)-private
/// (Balle and Wang 2018, algorithm 1, by bisection).
///
/// # Errors
/// [`AccountingError::BadEpsilon`] unless epsilon is finite and above 0 (and at most 600);
/// [`AccountingError::BadDelta`].
pub fn gaussian_noise_multiplier(epsilon: f64, delta: f64) -> Result<f64, AccountingError> {
    check_epsilon(epsilon)?;
    check_delta(delta)?;
    if epsilon > LARGEST_EPSILON {
        return Err(AccountingError::BadEpsilon { epsilon });
    }
    let (mut low, mut high) = (0.0f64, 1.0f64);
    while curve(high, epsilon) > delta {
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle == low || middle == high {
            break;
        }
        if curve(middle, epsilon) > delta {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(high)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn huge_losses_fall_back_to_the_proven_bound() {
        let rho = Rho::from_f64(1e6).unwrap();
        assert_eq!(epsilon_gaussian(rho, 1e-6), epsilon_cks20(rho, 1e-6));
        assert_eq!(epsilon_gaussian(Rho::ZERO, 1e-6), Ok(0.0));
    }

    #[test]
    fn a_delta_at_epsilon_zero_is_the_total_variation_distance() {
        // 2 Phi(1 / (2 z)) - 1
        for (z, expected) in [(1.0, 0.382_924_922_548), (2.0, 0.197_412_651_365)] {
            let delta = gaussian_delta(z, 0.0).unwrap();
            assert!((delta - expected).abs() < 1e-10, "{delta} at {z}");
        }
    }

    #[test]
    fn bad_parameters_are_refused() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(gaussian_delta(bad, 1.0).is_err());
            assert!(bad == 0.0 || gaussian_delta(1.0, bad).is_err());
            assert!(gaussian_noise_multiplier(bad, 1e-5).is_err());
        }
        assert!(epsilon_gaussian(Rho::from_pico(1), 1.0).is_err());
    }

    proptest! {
        #[test]
        fn the_exact_curve_is_never_above_the_bound_for_any_mechanism(
            log_rho in -14.0f64..5.0,
            log_delta in -28.0f64..-3.0,
        ) {
            let rho = Rho::from_f64(log_rho.exp()).unwrap();
            let exact = epsilon_gaussian(rho, log_delta.exp()).unwrap();
            prop_assert!(exact <= epsilon_cks20(rho, log_delta.exp()).unwrap());
            prop_assert!(exact >= 0.0);
        }

        #[test]
        fn multiplier_and_delta_are_inverse(epsilon in 0.05f64..20.0, log_delta in -25.0f64..-3.0) {
            let delta = log_delta.exp();
            let z = gaussian_noise_multiplier(epsilon, delta).unwrap();
            let back = gaussian_delta(z, epsilon).unwrap();
            prop_assert!((back / delta - 1.0).abs() < 1e-6, "{back} {delta}");
        }
    }
}
