//! From sensitivity and noise to a zCDP charge, and from a charge to the noise that it buys.

use super::AccountingError;
use crate::noise::DiscreteGaussian;
use crate::rho::{PICO, Rho, RhoError};

/// Denominator of small fractional sigmas; fine enough that rounding up costs below 0.1 %.
const SIGMA_FRACTION: u64 = 1 << 10;

/// The charge of one release of a sum with L2 sensitivity `bound` under integer noise `sigma`:
/// B^2 / (2 sigma^2), rounded up (Canonne, Kamath, Steinke 2020, theorem 4).
///
/// # Errors
/// [`AccountingError::BadParameter`] for sigma 0, [`RhoError::TooLarge`].
pub fn gaussian_rho(bound: u64, sigma: u64) -> Result<Rho, AccountingError> {
    if sigma == 0 {
        return Err(AccountingError::BadParameter {
            field: "sigma",
            value: 0.0,
        });
    }
    let squared_sensitivity = u128::from(bound) * u128::from(bound);
    let twice_variance = (u128::from(sigma) * u128::from(sigma)).saturating_mul(2);
    let rho = Rho::from_ratio(squared_sensitivity, twice_variance);
    Ok(rho.ok_or(RhoError::TooLarge)?)
}

/// The least noise whose charge is at most `rho`, for integer vectors of squared L2 sensitivity
/// `squared_sensitivity` (B^2 for a model sum, the number of votes per device for histograms).
///
/// Sigmas from 1024 on are integers; smaller ones are multiples of 1/1024. The charge is always
/// [`DiscreteGaussian::rho`] of the result, which may lie a little below `rho`.
///
/// # Errors
/// [`AccountingError::NoSuchNoise`] when `rho` is zero or so small that sigma passes 2^40, or when
/// `squared_sensitivity` is 0 or above 2^80.
pub fn noise_for(squared_sensitivity: u128, rho: Rho) -> Result<DiscreteGaussian, AccountingError> {
    let none = AccountingError::NoSuchNoise { rho };
    if rho == Rho::ZERO || squared_sensitivity == 0 || squared_sensitivity > 1 << 80 {
        return Err(none);
    }
    let twice_rho = 2 * u128::from(rho.pico());
    // sigma^2 >= sensitivity^2 10^12 / (2 pico), first on the fine grid
    let fine = u128::from(SIGMA_FRACTION) * u128::from(SIGMA_FRACTION);
    let squared = |grid: u128| {
        let scaled = squared_sensitivity.checked_mul(PICO)?.checked_mul(grid)?;
        Some(root_up(scaled.div_ceil(twice_rho)))
    };
    let limit = u128::from(SIGMA_FRACTION * SIGMA_FRACTION);
    let gaussian = match squared(fine) {
        Some(parts) if parts < limit => DiscreteGaussian::from_ratio(parts as u64, SIGMA_FRACTION),
        _ => {
            let sigma = squared(1)
                .and_then(|sigma| u64::try_from(sigma).ok())
                .ok_or(none.clone())?;
            DiscreteGaussian::new(sigma)
        }
    };
    gaussian.map_err(|_| none)
}

/// ceil(sqrt(value))
fn root_up(value: u128) -> u128 {
    let root = value.isqrt();
    if root * root == value { root } else { root + 1 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_gaussian_charge_is_half_the_squared_ratio_of_bound_and_sigma() {
        assert_eq!(gaussian_rho(4, 4).unwrap().to_string(), "0.5");
        assert_eq!(gaussian_rho(1 << 20, 1 << 21).unwrap().to_string(), "0.125");
        assert!(gaussian_rho(1, 0).is_err());
        assert_eq!(gaussian_rho(u64::MAX, 1), Err(RhoError::TooLarge.into()));
    }

    proptest! {
        #[test]
        fn noise_for_a_charge_stays_within_it_and_is_tight(
            bits in 0u32..44,
            offset in 0u64..1000,
            pico in 1_000_000u64..20_000_000_000_000,
        ) {
            let squared = (1u128 << bits) + u128::from(offset);
            let rho = Rho::from_pico(pico);
            let gaussian = noise_for(squared, rho).unwrap();
            prop_assert!(gaussian.rho(squared).unwrap() <= rho);
            // one step of sigma less would cost more than was asked for
            let (p, q) = gaussian.ratio();
            let grid = if gaussian.sigma() < 1024.0 { SIGMA_FRACTION / q } else { 1 };
            if p * grid > 1 {
                let less = DiscreteGaussian::from_ratio(p * grid - 1, q * grid).unwrap();
                prop_assert!(less.rho(squared).unwrap() > rho);
            }
        }

        #[test]
        fn charges_never_lie_below_the_real_number(bound in 1u64..1 << 21, sigma in 1u64..1 << 30) {
            let rho = gaussian_rho(bound, sigma);
            let real = (bound as f64 / sigma as f64).powi(2) / 2.0;
            if let Ok(rho) = rho {
                prop_assert!(rho.as_f64() >= real * (1.0 - 1e-15));
                prop_assert!(rho.as_f64() <= real * (1.0 + 1e-12) + 1.1e-12);
            } else {
                prop_assert!(real > 1.8e7);
            }
        }
    }
}
