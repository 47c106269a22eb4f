//! Zero-concentrated privacy loss as an integer.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Units of a [`Rho`] in 1: 10^12.
pub(crate) const PICO: u128 = 1_000_000_000_000;

/// Why a number is no zCDP charge.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum RhoError {
    /// A float that is negative, infinite or NaN.
    #[error("rho is {value}; it must be finite and above 0")]
    NoNumber {
        /// The refused value.
        value: f64,
    },
    /// A charge or a sum of charges is beyond 1.8e7, where it means no privacy at all.
    #[error("rho is too large to count; raise sigma or lower the clip")]
    TooLarge,
}

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
    /// [`RhoError::NoNumber`] unless `rho` is finite and at least 0; [`RhoError::TooLarge`] above
    /// [`Rho::MAX`].
    pub fn from_f64(rho: f64) -> Result<Self, RhoError> {
        if !rho.is_finite() || rho < 0.0 {
            return Err(RhoError::NoNumber { value: rho });
        }
        let pico = (rho * PICO as f64).ceil();
        if pico >= u64::MAX as f64 {
            return Err(RhoError::TooLarge);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_round_up_and_print_every_digit() {
        assert_eq!(Rho::from_f64(0.5).unwrap().to_string(), "0.5");
        assert_eq!(Rho::from_pico(1).to_string(), "0.000000000001");
        assert_eq!(Rho::from_pico(12_000_000_000_000).to_string(), "12.0");
        assert_eq!(Rho::from_ratio(1, 3).unwrap().pico(), 333_333_333_334);
        assert_eq!(Rho::from_f64(1e-13).unwrap().pico(), 1);
        assert!(Rho::from_f64(f64::NAN).is_err() && Rho::from_f64(-1.0).is_err());
        assert_eq!(Rho::from_f64(1e9), Err(RhoError::TooLarge));
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
}
