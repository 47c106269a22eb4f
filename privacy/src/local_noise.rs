//! The noise that a device adds itself, for runs in which nobody is trusted with an update.
//!
//! The clipped update goes to the round's integer grid, gets discrete Gaussian noise there and comes
//! back to floats. All that follows (clipping to the length that the wire allows, the codec, the sum)
//! is post-processing. The guarantee is the Gaussian mechanism's for one device's whole update under
//! replacement: two vectors of norm at most B are at most 2 B apart, so one message costs
//! (2 B)^2 / (2 sigma^2) of zCDP, however many others come.

use crate::clip::clip_l2;
use crate::grid::{Grid, SCALE, check_clip};
use crate::noise::{DiscreteGaussian, FastestGaussian, NoiseSource};
use crate::rho::{Rho, RhoError};
use crate::vector_error::VectorError;

/// Standard deviations that a noise vector's length may exceed sigma sqrt(d) by before it is cut.
const LENGTH_MARGIN: f64 = 7.0;

/// Why a device can't add noise as asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LocalNoiseError {
    /// The clip or the number of parameters can't be used.
    #[error(transparent)]
    Grid(#[from] VectorError),
    /// The noise multiplier is not a number in the sampler's range.
    #[error(
        "privacy.noise_multiplier is {value}; under local noise it must be above 0 and at most 2^20"
    )]
    BadNoiseMultiplier {
        /// The refused value.
        value: f64,
    },
    /// The noise is so small that its charge can't be counted.
    #[error(
        "privacy.noise_multiplier is {value}, which protects nothing; under local noise choose at \
         least 0.001"
    )]
    TooLittleNoise {
        /// The refused value.
        value: f64,
    },
    /// Noised updates would be longer than any clip can be.
    #[error(
        "noised updates would have norm {norm:e}, above 1e12; lower privacy.clip or \
         privacy.noise_multiplier"
    )]
    WireClipTooLarge {
        /// The norm that the wire would have to allow.
        norm: f64,
    },
}

/// Clip, grid and noise of one device's update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LocalNoise {
    grid: Grid,
    noise: DiscreteGaussian,
    rho: Rho,
    wire_clip: f32,
}

impl LocalNoise {
    /// Noise for updates of `dimension` values clipped to L2 norm `clip` (C, in [1e-12, 1e12]):
    /// `noise_multiplier` z times the clip per value, which is sigma = ceil(z S) on the grid of steps
    /// C / S, S = 2^20.
    ///
    /// # Errors
    /// [`LocalNoiseError`].
    pub fn new(
        clip: f32,
        dimension: usize,
        noise_multiplier: f64,
    ) -> Result<Self, LocalNoiseError> {
        let value = noise_multiplier;
        let grid = Grid::new(clip, dimension)?;
        let scaled = noise_multiplier * SCALE as f64;
        // written so that NaN fails
        if !(scaled > 0.0 && scaled <= (1u64 << 40) as f64) {
            return Err(LocalNoiseError::BadNoiseMultiplier { value });
        }
        let noise = DiscreteGaussian::new(scaled.ceil() as u64)
            .map_err(|_| LocalNoiseError::BadNoiseMultiplier { value })?;
        let distance = 2 * u128::from(grid.bound());
        let rho = noise
            .rho(distance * distance)
            .map_err(|_: RhoError| LocalNoiseError::TooLittleNoise { value })?;
        let norm = longest(&grid, &noise);
        let wire_clip = (norm as f32).next_up();
        check_clip(wire_clip).map_err(|_| LocalNoiseError::WireClipTooLarge { norm })?;
        Ok(Self {
            grid,
            noise,
            rho,
            wire_clip,
        })
    }

    /// The L2 norm that a noised update is cut to: C (B / S + z (sqrt(d) + 7)), about
    /// C (1 + z (sqrt(d) + 7)).
    ///
    /// The chance that a noise vector is longer and anything is cut is below 2^-35: values of the
    /// discrete Gaussian are sub-Gaussian with variance proxy sigma^2 (Canonne, Kamath, Steinke 2020,
    /// corollary 17), so the moments of exp(l ||x||^2) are at most the Gaussian's, and the bound of
    /// Laurent and Massart (2000, lemma 1), P[||x||^2 >= sigma^2 (d + 2 sqrt(d u) + 2 u)] <= e^-u, holds;
    /// with 2 u = 7^2 the right side is at most sigma^2 (sqrt(d) + 7)^2 and e^-24.5 < 2^-35.
    pub fn wire_clip(&self) -> f32 {
        self.wire_clip
    }

    /// What one message costs the device: (2 B)^2 / (2 sigma^2), rounded up, replace-one-device.
    pub fn rho(&self) -> Rho {
        self.rho
    }

    /// Standard deviation of the noise on each value, in parameter units: z C.
    pub fn sigma(&self) -> f64 {
        self.noise.sigma() * self.grid.step()
    }

    /// Rounds clipped `values` to the grid, adds the noise, and cuts the result to the wire clip.
    ///
    /// # Errors
    /// [`VectorError::WrongLength`], [`VectorError::NotFinite`], or [`VectorError::NormTooLarge`] when
    /// the values were not clipped to C ([`clip_l2`]); then nothing has changed and nothing was drawn.
    pub fn add(&self, values: &mut [f32], source: &mut NoiseSource) -> Result<(), VectorError> {
        self.check(values)?;
        let step = self.grid.step();
        let noise = FastestGaussian::new(&self.noise, values.len());
        let mut integers = Vec::with_capacity(values.len().min(NoiseSource::CHUNK));
        for chunk in values.chunks_mut(NoiseSource::CHUNK) {
            integers.clear();
            integers.extend(chunk.iter().map(|&value| self.round(value)));
            noise.add_noise(&mut integers, source);
            for (value, &integer) in chunk.iter_mut().zip(&integers) {
                *value = (integer as f64 * step) as f32;
            }
        }
        clip_l2(values, self.wire_clip)?;
        Ok(())
    }

    /// The integer of a value: round(g S / C), in f64, ties to even. Saturates far outside.
    fn round(&self, value: f32) -> i64 {
        (f64::from(value) / self.grid.step()).round_ties_even() as i64
    }

    /// Refuses what would break the sensitivity: the integer norm is compared exactly with B.
    fn check(&self, values: &[f32]) -> Result<(), VectorError> {
        let dimension = self.grid.dimension();
        if values.len() != dimension {
            let actual = values.len();
            return Err(VectorError::WrongLength { dimension, actual });
        }
        let limit = u128::from(self.grid.bound()).pow(2);
        let mut squares = 0u128;
        for (index, &value) in values.iter().enumerate() {
            if !value.is_finite() {
                return Err(VectorError::NotFinite { index });
            }
            let magnitude = u128::from(self.round(value).unsigned_abs());
            // no overflow: the sum so far is at most B^2 and a saturated value's square 2^126
            squares += magnitude * magnitude;
            if squares > limit {
                return Err(VectorError::NormTooLarge {
                    clip: self.grid.clip(),
                    bound: self.grid.bound(),
                });
            }
        }
        Ok(())
    }
}

/// The length, in parameter units, that a noised update exceeds with a chance below 2^-35.
fn longest(grid: &Grid, noise: &DiscreteGaussian) -> f64 {
    let root = (grid.dimension() as f64).sqrt();
    (grid.bound() as f64 + noise.sigma() * (root + LENGTH_MARGIN)) * grid.step()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clip::l2_norm;

    fn noise(clip: f32, dimension: usize, z: f64) -> LocalNoise {
        LocalNoise::new(clip, dimension, z).unwrap()
    }

    #[test]
    fn a_message_costs_the_square_of_twice_the_bound() {
        // d = 1: B = S + 1; sigma = S: 2 (1 + 2^-20)^2
        let rho = noise(1.0, 1, 1.0).rho().as_f64();
        assert!((rho - 2.0 * (1.0 + f64::powi(2.0, -20)).powi(2)).abs() < 1e-11);
        let rho = noise(3.0, 100, 10.0).rho().as_f64();
        assert!((rho - 0.02).abs() < 1e-6, "{rho}");
    }

    /// The variance of 20,000 values has a standard error of 1 %: five of them, 6e-7 by chance.
    #[test]
    fn the_noise_has_the_asked_scale_around_the_value() {
        let (clip, z, d) = (0.5f32, 0.7, 20_000);
        let local = noise(clip, d, z);
        let mut values = vec![0.5 / (d as f32).sqrt(); d];
        clip_l2(&mut values, clip).unwrap();
        let before = values[0];
        local
            .add(&mut values, &mut NoiseSource::seeded([3; 32]))
            .unwrap();
        let sigma = f64::from(clip) * z;
        let errors = values
            .iter()
            .map(|&value| f64::from(value - before) / sigma);
        let (mut mean, mut variance) = (0.0, 0.0);
        for error in errors {
            mean += error / d as f64;
            variance += error * error / d as f64;
        }
        assert!(mean.abs() < 5.0 / (d as f64).sqrt(), "{mean}");
        assert!((variance - 1.0).abs() < 0.05, "{variance}");
        assert!((local.sigma() - sigma).abs() < 1e-6);
    }

    #[test]
    fn an_update_that_is_not_clipped_is_refused_and_stays_as_it_was() {
        let local = noise(1.0, 3, 1.0);
        let mut source = NoiseSource::seeded([5; 32]);
        let mut refuse = |mut values: Vec<f32>| {
            let before: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
            let error = local.add(&mut values, &mut source).unwrap_err();
            let after: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
            assert_eq!(before, after);
            error
        };
        let too_large = |error| matches!(error, VectorError::NormTooLarge { .. });
        assert!(too_large(refuse(vec![1.1, 0.0, 0.0])));
        assert!(too_large(refuse(vec![f32::MAX; 3])));
        assert!(too_large(refuse(vec![f32::MIN; 3])));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(
                refuse(vec![0.0, bad, 0.0]),
                VectorError::NotFinite { index: 1 }
            );
        }
        assert!(matches!(
            refuse(vec![0.0; 2]),
            VectorError::WrongLength { .. }
        ));
        // refusals drew nothing: the next noise is the first of the source
        let mut values = [0.0; 3];
        local.add(&mut values, &mut source).unwrap();
        let mut fresh = [0.0; 3];
        local
            .add(&mut fresh, &mut NoiseSource::seeded([5; 32]))
            .unwrap();
        assert_eq!(values, fresh);
    }

    #[test]
    fn what_cannot_be_noise_is_refused_by_name() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1.1e6] {
            let error = LocalNoise::new(1.0, 10, bad).unwrap_err();
            assert!(
                matches!(error, LocalNoiseError::BadNoiseMultiplier { .. }),
                "{bad}"
            );
            assert!(error.to_string().contains("privacy.noise_multiplier"));
        }
        let error = LocalNoise::new(1.0, 10, 1e-5).unwrap_err();
        assert!(matches!(error, LocalNoiseError::TooLittleNoise { .. }));
        assert!(LocalNoise::new(1.0, 10, 1e-3).is_ok());
        let error = LocalNoise::new(1e12, 10, 1.0).unwrap_err();
        assert!(matches!(error, LocalNoiseError::WireClipTooLarge { .. }));
        assert!(matches!(
            LocalNoise::new(0.0, 10, 1.0),
            Err(LocalNoiseError::Grid(_))
        ));
        assert!(matches!(
            LocalNoise::new(1.0, 0, 1.0),
            Err(LocalNoiseError::Grid(_))
        ));
    }

    proptest! {
        #[test]
        fn every_clipped_update_is_accepted(
            mut values in prop::collection::vec(-1e3f32..1e3, 1..500),
            clip in 1e-6f32..1e6,
        ) {
            clip_l2(&mut values, clip).unwrap();
            let local = LocalNoise::new(clip, values.len(), 1.0).unwrap();
            prop_assert_eq!(local.add(&mut values, &mut NoiseSource::seeded([6; 32])), Ok(()));
            prop_assert!(l2_norm(&values) <= f64::from(local.wire_clip()));
        }
    }
}
