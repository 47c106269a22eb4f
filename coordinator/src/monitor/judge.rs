//! Noise on a region's votes, and what it costs.

use tributary_aggregator::{DiscreteGaussian, NoiseSource};
use tributary_drift::{Histogram, Quantity};

use super::poll::Votes;
use crate::CoordinatorError;
use crate::core::seeded_bytes;

/// Denominator of the noise's standard deviation, so that halves and tenths of votes are exact.
const SIGMA_PARTS: u64 = 1_000;

/// The noise on each bin of a window.
#[derive(Debug, Clone)]
pub struct VoteNoise {
    gaussian: Option<DiscreteGaussian>,
    seed: Option<u64>,
}

impl VoteNoise {
    /// Noise of so many votes of standard deviation; none for 0.
    ///
    /// # Errors
    /// When it can't be represented.
    pub fn new(votes: f64, seed: Option<u64>) -> Result<Self, CoordinatorError> {
        let parts = (votes * SIGMA_PARTS as f64).ceil() as u64;
        let gaussian = match parts {
            0 => None,
            _ => Some(DiscreteGaussian::from_ratio(parts, SIGMA_PARTS)?),
        };
        Ok(Self { gaussian, seed })
    }

    /// Charge to each voter for a vote in each of `quantities` histograms, in units of 1e-12 of
    /// zCDP: one device moves one bin of each by one, so the squared L2 sensitivity is their number.
    ///
    /// # Errors
    /// When it can't be represented.
    pub fn pico_rho(&self, quantities: usize) -> Result<u64, CoordinatorError> {
        let Some(gaussian) = &self.gaussian else { return Ok(0) };
        Ok(gaussian.rho(quantities as u128)?.pico())
    }

    /// Noised histograms of a window. What was exact is consumed.
    ///
    /// # Errors
    /// When noise can't be drawn or a sum is out of range.
    pub fn release(
        &self,
        quantities: &[Quantity],
        votes: Votes,
        purpose: &[&[u8]],
    ) -> Result<Vec<Histogram>, CoordinatorError> {
        let devices = votes.voters.len() as u64;
        let mut source = match (&self.gaussian, self.seed) {
            (None, _) => None,
            (Some(_), Some(seed)) => Some(NoiseSource::seeded(seeded_bytes(seed, purpose))),
            (Some(_), None) => Some(NoiseSource::from_os()?),
        };
        let mut histograms = Vec::with_capacity(quantities.len());
        for (quantity, mut counts) in quantities.iter().zip(votes.sums) {
            let histogram = match (&self.gaussian, &mut source) {
                (Some(gaussian), Some(source)) => {
                    gaussian.add_noise(&mut counts, source);
                    let variance = gaussian.sigma() * gaussian.sigma();
                    Histogram::with_private_devices(quantity, counts, variance)?
                }
                _ => Histogram::new(quantity, counts, devices, 0.0)?,
            };
            histograms.push(histogram);
        }
        Ok(histograms)
    }
}
