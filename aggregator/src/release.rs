//! The noised mean that leaves the aggregator.

use crate::fixed_point::{FixedPoint, SCALE};
use crate::noise::{DiscreteGaussian, NoiseSource};
use crate::partial::Partial;

/// Why a mean can't be released.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ReleaseError {
    /// Sum and grid have different numbers of parameters.
    #[error(
        "partial has {actual} parameters but the round's grid has {expected}; merge partials of one round only"
    )]
    DimensionMismatch {
        /// Parameters of the grid.
        expected: usize,
        /// Parameters of the partial.
        actual: usize,
    },
    /// The denominator can't be divided by.
    #[error(
        "denominator {denominator} is not usable; use the planned number of contributions or the \
         sum of weights, a finite number above 0"
    )]
    BadDenominator {
        /// The refused number.
        denominator: f64,
    },
    /// Nothing was summed and no noise was asked for.
    #[error(
        "partial is empty and no noise was asked for; abort the round instead of releasing nothing"
    )]
    Empty,
}

/// The mean update: (sum + noise) C / (S denominator), in parameter units, one value per parameter.
///
/// Noise is added to the integer sum; the division is the only float operation and comes last, so it
/// is post-processing. `denominator` counts contributions of weight 1: the sum of weights divided by
/// 2^20 where privacy is off. Under add-or-remove adjacency it must be fixed before the round (the
/// planned number of contributions), never the private count or weight of those that came.
///
/// With noise, an empty partial is released like any other: whether somebody came is private too.
///
/// # Errors
/// [`ReleaseError`]; nothing has been drawn from the noise source then.
pub fn release_mean(
    partial: &Partial,
    fixed: &FixedPoint,
    denominator: f64,
    mut noise: Option<(&DiscreteGaussian, &mut NoiseSource)>,
) -> Result<Vec<f32>, ReleaseError> {
    let (expected, actual) = (fixed.dimension(), partial.dimension());
    if expected != actual {
        return Err(ReleaseError::DimensionMismatch { expected, actual });
    }
    // infinity would pass as a mean of zeros
    if !(denominator > 0.0 && denominator.is_finite()) {
        return Err(ReleaseError::BadDenominator { denominator });
    }
    if partial.is_empty() && noise.is_none() {
        return Err(ReleaseError::Empty);
    }
    let divisor = SCALE as f64 * denominator / f64::from(fixed.clip());
    let mut mean = Vec::with_capacity(expected);
    let mut noised: Vec<i64> = Vec::with_capacity(expected.min(NoiseSource::CHUNK));
    for start in (0..expected).step_by(NoiseSource::CHUNK) {
        noised.resize(NoiseSource::CHUNK.min(expected - start), 0);
        partial.copy_sums(start, &mut noised);
        if let Some((gaussian, source)) = &mut noise {
            gaussian.add_noise(&mut noised, source);
        }
        mean.extend(noised.iter().map(|&sum| (sum as f64 / divisor) as f32));
    }
    Ok(mean)
}
