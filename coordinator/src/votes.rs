//! The votes of a region's devices: their sums, the noise on them, and what they cost.

use tributary_drift::{Histogram, Quantity};
use tributary_model::{Graph, LayerSpec};
use tributary_privacy::{DiscreteGaussian, NoiseSource};
use tributary_proto::DeviceId;

use crate::CoordinatorError;
use crate::random::seeded_bytes;
use tributary_recipe::{BuildSpec, DriftSpec};

/// Denominator of the noise's standard deviation, so that halves and tenths of votes are exact.
const SIGMA_PARTS: u64 = 1_000;

/// Charge of one window to a device that votes, in units of 1e-12 of zCDP.
///
/// # Errors
/// When its noise can't be represented.
pub fn window_pico_rho(drift: &DriftSpec) -> Result<u64, CoordinatorError> {
    VoteNoise::new(drift.noise_votes, None)?.pico_rho(drift.quantities.len())
}

/// Charge of one calibration to a device that votes, in units of 1e-12 of zCDP.
///
/// # Errors
/// When its noise can't be represented.
pub fn calibration_pico_rho(builds: &BuildSpec, graph: &Graph) -> Result<u64, CoordinatorError> {
    VoteNoise::new(builds.calibration_noise_votes, None)?
        .pico_rho(calibrated_tensors(graph).count())
}

/// Indices of the tensors that need a range: all but the output of a softmax, which lies in 0..1.
pub fn calibrated_tensors(graph: &Graph) -> impl Iterator<Item = usize> {
    let softmax = |index: &usize| {
        index
            .checked_sub(1)
            .is_some_and(|layer| matches!(graph.layers()[layer], LayerSpec::Softmax(_)))
    };
    (0..graph.shapes().len()).filter(move |index| !softmax(index))
}

/// The votes of one group. No `Debug`: the sums are exact.
#[derive(Clone, Default)]
pub struct Votes {
    /// Sums by quantity and bin.
    pub sums: Vec<Vec<i64>>,
    /// Who voted.
    pub voters: Vec<DeviceId>,
}

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
        let Some(gaussian) = &self.gaussian else {
            return Ok(0);
        };
        Ok(gaussian.rho(quantities as u128)?.pico())
    }

    /// Variance of the noise on a bin, in votes squared; 0 without noise.
    pub fn variance(&self) -> f64 {
        self.gaussian
            .as_ref()
            .map_or(0.0, |gaussian| gaussian.sigma() * gaussian.sigma())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::device;

    fn quantity() -> Quantity {
        Quantity::prediction("prediction", 3).unwrap()
    }

    fn votes(sums: Vec<i64>) -> Votes {
        let voters = (0..sums.iter().sum::<i64>() as usize).map(device).collect();
        Votes {
            sums: vec![sums],
            voters,
        }
    }

    #[test]
    fn a_voter_pays_the_number_of_quantities_over_two_sigma_squared() {
        for (sigma, quantities) in [(2.0, 1), (2.0, 5), (0.5, 3), (12.5, 64)] {
            let noise = VoteNoise::new(sigma, None).unwrap();
            let rho = quantities as f64 / (2.0 * sigma * sigma);
            let charged = noise.pico_rho(quantities).unwrap() as f64 * 1e-12;
            assert!(
                charged >= rho - 1e-15 && charged <= rho + 2e-12,
                "{charged} against {rho}"
            );
        }
        assert_eq!(VoteNoise::new(0.0, None).unwrap().pico_rho(9).unwrap(), 0);
    }

    #[test]
    fn noise_is_never_smaller_than_what_was_asked_for() {
        let noise = VoteNoise::new(1.234_56, None).unwrap();
        assert!(
            noise.pico_rho(1).unwrap() <= VoteNoise::new(1.234, None).unwrap().pico_rho(1).unwrap()
        );
        let released = noise
            .release(&[quantity()], votes(vec![1, 2, 3, 0]), &[])
            .unwrap();
        assert!(released[0].noise_variance() >= 1.234_56 * 1.234_56);
    }

    #[test]
    fn without_noise_the_counts_are_exact() {
        let noise = VoteNoise::new(0.0, Some(1)).unwrap();
        let released = noise
            .release(&[quantity()], votes(vec![4, 0, 5, 1]), &[])
            .unwrap();
        assert_eq!(released[0].counts(), [4, 0, 5, 1]);
        assert_eq!(released[0].noise_variance(), 0.0);
    }

    #[test]
    fn invariant_5_released_counts_are_noised_and_differ_from_window_to_window() {
        let noise = VoteNoise::new(50.0, Some(1)).unwrap();
        let exact = vec![400, 300, 500, 100];
        let release = |purpose: &[&[u8]]| {
            let released = noise
                .release(&[quantity()], votes(exact.clone()), purpose)
                .unwrap();
            released[0].counts().to_vec()
        };
        let (first, second) = (release(&[b"window", b"1"]), release(&[b"window", b"2"]));
        assert_ne!(first, exact);
        assert_ne!(first, second);
        assert_eq!(
            first,
            release(&[b"window", b"1"]),
            "a seeded window repeats to the bit"
        );
        let ambiguous = release(&[b"window1", b""]);
        assert_ne!(
            first, ambiguous,
            "the parts of a purpose do not run together"
        );
    }
}
