//! Zero-concentrated privacy loss as an integer.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::AccountingError;
use crate::noise::DiscreteGaussian;

const PICO: u128 = 1_000_000_000_000;

/// Denominator of small fractional sigmas; fine enough that rounding up costs below 0.1 %.
const SIGMA_FRACTION: u64 = 1 << 10;

/// A zCDP charge rho (Bun and Steinke 2016, definition 1.1) in units of 10^-12.
///
/// Every conversion to it rounds up and sums are exact, so a ledger can't drift below the truth. It
/// serialises as the integer number of pico-rho.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Rho(u64);

impl Rho {
    /// No privacy loss.
    pub const ZERO: Rho = Rho(0);
    /// The largest charge that can be counted, about 1.8e7.
    pub const MAX: Rho = Rho(u64::MAX);

    /// From an integer number of 10^-12.
    pub const fn from_pico(pico: u64) -> Self {
        Self(pico)
    }

    /// The integer number of 10^-12.
    pub const fn pico(self) -> u64 {
        self.0
    }

    /// From a float, rounded up.
    ///
    /// # Errors
    /// [`AccountingError::BadParameter`] unless `rho` is finite and at least 0;
    /// [`AccountingError::RhoTooLarge`] above [`Rho::MAX`].
    pub fn from_f64(rho: f64) -> Result<Self, AccountingError> {
        if !rho.is_finite() || rho < 0.0 {
            return Err(AccountingError::BadParameter {
                field: "rho",
                value: rho,
            });
        }
        let pico = (rho * PICO as f64).ceil();
        if pico >= u64::MAX as f64 {
            return Err(AccountingError::RhoTooLarge);
        }
        Ok(Self(pico as u64))
    }

    /// `numerator / denominator` rounded up; `None` when it can't be represented.
    pub(crate) fn from_ratio(numerator: u128, denominator: u128) -> Option<Self> {
        let pico = numerator.checked_mul(PICO)?.div_ceil(denominator);
        u64::try_from(pico).ok().map(Self)
    }

    /// As a float, to the nearest.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / PICO as f64
    }

    /// Sequential composition: charges add (Bun and Steinke 2016, lemma 1.7). `None` on overflow,
    /// which a filter must treat as a refusal.
    pub fn checked_add(self, other: Rho) -> Option<Rho> {
        self.0.checked_add(other.0).map(Rho)
    }

    /// `count` equal charges; `None` on overflow.
    pub fn checked_mul(self, count: u64) -> Option<Rho> {
        self.0.checked_mul(count).map(Rho)
    }

    /// What is left of this after `spent`; zero when more was spent.
    pub fn saturating_sub(self, spent: Rho) -> Rho {
        Rho(self.0.saturating_sub(spent.0))
    }
}

impl fmt::Display for Rho {
    /// All digits that count: `0.5`, `0.000000000001`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = PICO as u64;
        let fraction = format!("{:012}", self.0 % unit);
        let digits = fraction.trim_end_matches('0');
        let digits = if digits.is_empty() { "0" } else { digits };
        formatter.pad(&format!("{}.{digits}", self.0 / unit))
    }
}

/// The charge of one release of a sum with L2 sensitivity `bound` under integer noise `sigma`:
/// B^2 / (2 sigma^2), rounded up (Canonne, Kamath, Steinke 2020, theorem 4).
///
/// # Errors
/// [`AccountingError::BadParameter`] for sigma 0, [`AccountingError::RhoTooLarge`].
pub fn gaussian_rho(bound: u64, sigma: u64) -> Result<Rho, AccountingError> {
    if sigma == 0 {
        return Err(AccountingError::BadParameter {
            field: "sigma",
            value: 0.0,
        });
    }
    let squared_sensitivity = u128::from(bound) * u128::from(bound);
    let twice_variance = (u128::from(sigma) * u128::from(sigma)).saturating_mul(2);
    Rho::from_ratio(squared_sensitivity, twice_variance).ok_or(AccountingError::RhoTooLarge)
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
    fn charges_round_up_and_print_every_digit() {
        assert_eq!(Rho::from_f64(0.5).unwrap().to_string(), "0.5");
        assert_eq!(Rho::from_pico(1).to_string(), "0.000000000001");
        assert_eq!(Rho::from_pico(12_000_000_000_000).to_string(), "12.0");
        assert_eq!(Rho::from_ratio(1, 3).unwrap().pico(), 333_333_333_334);
        assert_eq!(Rho::from_f64(1e-13).unwrap().pico(), 1);
        assert!(Rho::from_f64(f64::NAN).is_err() && Rho::from_f64(-1.0).is_err());
        assert_eq!(Rho::from_f64(1e9), Err(AccountingError::RhoTooLarge));
    }

    #[test]
    fn a_gaussian_charge_is_half_the_squared_ratio_of_bound_and_sigma() {
        assert_eq!(gaussian_rho(4, 4).unwrap().to_string(), "0.5");
        assert_eq!(gaussian_rho(1 << 20, 1 << 21).unwrap().to_string(), "0.125");
        assert!(gaussian_rho(1, 0).is_err());
        assert_eq!(gaussian_rho(u64::MAX, 1), Err(AccountingError::RhoTooLarge));
    }

    #[test]
    fn composition_is_exact_and_overflow_is_seen() {
        let third = Rho::from_ratio(1, 3).unwrap();
        assert_eq!(third.checked_mul(3).unwrap().pico(), 1_000_000_000_002);
        assert_eq!(Rho::MAX.checked_add(Rho::from_pico(1)), None);
        assert_eq!(Rho::ZERO.saturating_sub(third), Rho::ZERO);
    }

    #[test]
    fn charges_serialise_as_integers() {
        let text = serde_json::to_string(&Rho::from_pico(7)).unwrap();
        assert_eq!(text, "7");
        assert_eq!(
            serde_json::from_str::<Rho>(&text).unwrap(),
            Rho::from_pico(7)
        );
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
