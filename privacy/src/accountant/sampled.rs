//! Gaussian steps on a random sample of the fleet, with their parameters checked.

use serde::{Deserialize, Serialize};

use super::{AccountingError, check_positive};

/// The least noise multiplier that the accountants of sampled steps work with. One step below it
/// costs an epsilon of thousands.
pub const LEAST_NOISE_MULTIPLIER: f64 = 0.01;

/// One step: every device takes part with the same probability, independently of all others and of
/// all other steps, and Gaussian noise is added to the sum of clipped updates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "UncheckedPoisson")]
pub struct PoissonGaussian {
    sampling_rate: f64,
    noise_multiplier: f64,
}

#[derive(Deserialize)]
struct UncheckedPoisson {
    sampling_rate: f64,
    noise_multiplier: f64,
}

impl TryFrom<UncheckedPoisson> for PoissonGaussian {
    type Error = AccountingError;

    fn try_from(unchecked: UncheckedPoisson) -> Result<Self, AccountingError> {
        Self::new(unchecked.sampling_rate, unchecked.noise_multiplier)
    }
}

impl PoissonGaussian {
    /// A step that samples each device with probability `sampling_rate` in [0, 1] and adds noise of
    /// standard deviation `noise_multiplier` times the clip. The adjacency is adding or removing one
    /// device, so the clip is the sensitivity.
    ///
    /// # Errors
    /// [`AccountingError::BadSamplingRate`]; [`AccountingError::BadParameter`] unless the multiplier
    /// is finite and above 0; [`AccountingError::NoiseTooSmall`] below [`LEAST_NOISE_MULTIPLIER`].
    pub fn new(sampling_rate: f64, noise_multiplier: f64) -> Result<Self, AccountingError> {
        if !(0.0..=1.0).contains(&sampling_rate) {
            return Err(AccountingError::BadSamplingRate {
                rate: sampling_rate,
            });
        }
        check_noise(noise_multiplier)?;
        Ok(Self {
            sampling_rate,
            noise_multiplier,
        })
    }

    /// The probability that a device takes part in a step.
    pub fn sampling_rate(&self) -> f64 {
        self.sampling_rate
    }

    /// Standard deviation of the noise over the clip.
    pub fn noise_multiplier(&self) -> f64 {
        self.noise_multiplier
    }
}

/// One step: a sample of fixed size is drawn from a fleet of public size, without replacement, and
/// Gaussian noise is added to the sum of clipped updates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "UncheckedFixedSize")]
pub struct FixedSizeGaussian {
    population: u64,
    sample: u64,
    noise_multiplier: f64,
}

#[derive(Deserialize)]
struct UncheckedFixedSize {
    population: u64,
    sample: u64,
    noise_multiplier: f64,
}

impl TryFrom<UncheckedFixedSize> for FixedSizeGaussian {
    type Error = AccountingError;

    fn try_from(unchecked: UncheckedFixedSize) -> Result<Self, AccountingError> {
        Self::new(
            unchecked.population,
            unchecked.sample,
            unchecked.noise_multiplier,
        )
    }
}

impl FixedSizeGaussian {
    /// A step on `sample` of `population` devices. The adjacency is the replacement of one device,
    /// which moves a sum of updates clipped to C by up to 2 C: `noise_multiplier` is the standard
    /// deviation over that 2 C, half of what the same noise would be called over the clip.
    ///
    /// # Errors
    /// [`AccountingError::BadSample`] unless 1 <= sample <= population; for the multiplier as in
    /// [`PoissonGaussian::new`].
    pub fn new(
        population: u64,
        sample: u64,
        noise_multiplier: f64,
    ) -> Result<Self, AccountingError> {
        if sample == 0 || sample > population {
            return Err(AccountingError::BadSample { population, sample });
        }
        check_noise(noise_multiplier)?;
        Ok(Self {
            population,
            sample,
            noise_multiplier,
        })
    }

    /// Devices in all.
    pub fn population(&self) -> u64 {
        self.population
    }

    /// Devices per step.
    pub fn sample(&self) -> u64 {
        self.sample
    }

    /// Standard deviation of the noise over twice the clip.
    pub fn noise_multiplier(&self) -> f64 {
        self.noise_multiplier
    }

    /// The share of the fleet in a step.
    pub fn sampling_rate(&self) -> f64 {
        self.sample as f64 / self.population as f64
    }
}

/// Refuses multipliers that are no number above 0 or too small to compute with.
pub(super) fn check_noise(noise_multiplier: f64) -> Result<(), AccountingError> {
    check_positive("noise multiplier", noise_multiplier)?;
    if noise_multiplier < LEAST_NOISE_MULTIPLIER {
        return Err(AccountingError::NoiseTooSmall {
            noise_multiplier,
            least: LEAST_NOISE_MULTIPLIER,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_steps_are_refused_by_name() {
        for rate in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            let error = PoissonGaussian::new(rate, 1.0).unwrap_err();
            assert!(error.to_string().starts_with("sampling rate"), "{error}");
        }
        for noise in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-3] {
            let error = PoissonGaussian::new(0.1, noise).unwrap_err();
            assert!(error.to_string().starts_with("noise multiplier"), "{error}");
            assert!(FixedSizeGaussian::new(10, 1, noise).is_err());
        }
        for (population, sample) in [(10, 11), (10, 0), (0, 0)] {
            let error = FixedSizeGaussian::new(population, sample, 1.0).unwrap_err();
            assert!(error.to_string().starts_with("sample is"), "{error}");
        }
    }

    #[test]
    fn stored_steps_are_checked_when_read() {
        let step = PoissonGaussian::new(0.5, 2.0).unwrap();
        let text = serde_json::to_string(&step).unwrap();
        assert_eq!(
            serde_json::from_str::<PoissonGaussian>(&text).unwrap(),
            step
        );
        let bad = text.replace("0.5", "5.0");
        assert!(serde_json::from_str::<PoissonGaussian>(&bad).is_err());
    }
}
