//! Noise that devices add in shares, so that only its sum protects them.

use super::AccountingError;
use super::error::check_positive;
use crate::rho::{Rho, RhoError};

/// Devices that each add discrete Gaussian noise before a secure sum.
///
/// The sum of discrete Gaussians is not one, but close: with n devices, each with variance sigma^2,
/// an integer query in d dimensions of L2 sensitivity D is (1/2) e^2-zCDP with
/// e <= D / (sqrt(n) sigma) + tau sqrt(d), tau = 10 sum_{k=1..n-1} exp(-2 pi^2 sigma^2 k / (k + 1))
/// (Kairouz, Liu, Steinke 2021, "The distributed discrete Gaussian mechanism", theorem 1, one branch
/// of its minimum, so a valid bound). Noise of devices that drop out is missing: give the number
/// that is sure to arrive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DistributedGaussian {
    devices: u64,
    variance: f64,
}

impl DistributedGaussian {
    /// `devices` that are sure to arrive, each with noise of `variance` on the integer grid.
    ///
    /// # Errors
    /// [`AccountingError::BadSample`] for no devices; [`AccountingError::BadParameter`] unless the
    /// variance is finite and above 0.
    pub fn new(devices: u64, variance: f64) -> Result<Self, AccountingError> {
        if devices == 0 {
            return Err(AccountingError::BadSample {
                population: 0,
                sample: 0,
            });
        }
        check_positive("variance of each device", variance)?;
        Ok(Self { devices, variance })
    }

    /// How far the sum is from one discrete Gaussian, per coordinate.
    pub fn tau(&self) -> f64 {
        let exponent = 2.0 * std::f64::consts::PI.powi(2) * self.variance;
        // the terms fall with k: beyond the summed ones, the last of them bounds each
        const SUMMED: u64 = 100_000;
        let term = |k: f64| (-exponent * k / (k + 1.0)).exp();
        let summed = (1..self.devices.min(SUMMED)).map(|k| term(k as f64));
        let rest = self.devices.saturating_sub(SUMMED) as f64;
        10.0 * (summed.sum::<f64>() + rest * term(SUMMED as f64))
    }

    /// The bound on e for a query with this squared L2 sensitivity in this many dimensions, both on
    /// the integer grid. The loss is rho = e^2 / 2.
    ///
    /// # Errors
    /// [`AccountingError::BadParameter`] unless the sensitivity is finite and above 0.
    pub fn concentrated_epsilon(
        &self,
        squared_sensitivity: f64,
        dimension: u64,
    ) -> Result<f64, AccountingError> {
        check_positive("squared sensitivity", squared_sensitivity)?;
        let gaussian = (squared_sensitivity / (self.devices as f64 * self.variance)).sqrt();
        Ok(gaussian + self.tau() * (dimension as f64).sqrt())
    }

    /// The charge e^2 / 2 of that query, rounded up.
    ///
    /// # Errors
    /// As [`DistributedGaussian::concentrated_epsilon`]; [`RhoError::TooLarge`].
    pub fn rho(&self, squared_sensitivity: f64, dimension: u64) -> Result<Rho, AccountingError> {
        let epsilon = self.concentrated_epsilon(squared_sensitivity, dimension)?;
        let rho = 0.5 * epsilon * epsilon;
        if !rho.is_finite() {
            return Err(RhoError::TooLarge.into());
        }
        Ok(Rho::from_f64(rho)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_device_is_a_plain_discrete_gaussian() {
        let alone = DistributedGaussian::new(1, 4.0).unwrap();
        assert_eq!(alone.tau(), 0.0);
        let charge = alone.rho(9.0, 1_000_000).unwrap();
        assert_eq!(charge, Rho::from_f64(9.0 / 8.0).unwrap());
    }

    #[test]
    fn a_million_devices_are_bounded_in_less_than_a_million_terms() {
        let many = DistributedGaussian::new(1_000_000, 0.5).unwrap();
        let exponent = std::f64::consts::PI.powi(2);
        let all: f64 = (1..1_000_000)
            .map(|k| (-exponent * f64::from(k) / f64::from(k + 1)).exp())
            .sum();
        assert!(many.tau() >= 10.0 * all * (1.0 - 1e-12));
        assert!(many.tau() <= 10.0 * all * 1.001);
    }

    #[test]
    fn impossible_noise_is_refused() {
        assert!(DistributedGaussian::new(0, 1.0).is_err());
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(DistributedGaussian::new(3, bad).is_err());
            let fleet = DistributedGaussian::new(3, 1.0).unwrap();
            assert!(fleet.rho(bad, 5).is_err());
        }
        let faint = DistributedGaussian::new(1, 1e-300).unwrap();
        assert_eq!(faint.rho(1e300, 1), Err(RhoError::TooLarge.into()));
    }
}
