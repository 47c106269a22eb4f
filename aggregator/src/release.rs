//! The noised mean that leaves the aggregator.

use tributary_privacy::ftrl::{CorrelatedNoise, FtrlError};
use tributary_privacy::{DiscreteGaussian, FastestGaussian, NoiseSource, SCALE};

use crate::fixed_point::FixedPoint;
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
    /// Correlated noise can't go on.
    #[error(transparent)]
    Correlated(#[from] FtrlError),
}

/// Sums that are noised together: several streams of noise, so that threads can share the work.
const PIECE: usize = 16 * NoiseSource::CHUNK;

/// The mean update: (sum + noise) C / (S denominator), in parameter units, one value per parameter.
///
/// Noise is added to the integer sum; the division is the only float operation and comes last, so it
/// is post-processing. `denominator` counts contributions of weight 1: the sum of weights divided by
/// 2^20 where privacy is off. It must be fixed before the round (the
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
    noise: Option<(&DiscreteGaussian, &mut NoiseSource)>,
) -> Result<Vec<f32>, ReleaseError> {
    check(partial, fixed, denominator)?;
    if partial.is_empty() && noise.is_none() {
        return Err(ReleaseError::Empty);
    }
    let divisor = divisor(fixed, denominator);
    let dimension = fixed.dimension();
    let mut mean = Vec::with_capacity(dimension);
    let mut noised: Vec<i64> = Vec::with_capacity(dimension.min(PIECE));
    let mut noise =
        noise.map(|(gaussian, source)| (FastestGaussian::new(gaussian, dimension), source));
    for start in (0..dimension).step_by(PIECE) {
        noised.resize(PIECE.min(dimension - start), 0);
        partial.copy_sums(start, &mut noised);
        if let Some((gaussian, source)) = &mut noise {
            gaussian.add_noise(&mut noised, source);
        }
        mean.extend(noised.iter().map(|&sum| (sum as f64 / divisor) as f32));
    }
    Ok(mean)
}

/// [`release_mean`] with the next round's noise of `noise`, which moves on; its seeds are drawn from
/// `seeds`. Takes the sums once more in memory, 8 bytes a parameter.
///
/// # Errors
/// [`ReleaseError`]; `noise` has not moved then.
pub fn release_correlated_mean(
    partial: &Partial,
    fixed: &FixedPoint,
    denominator: f64,
    noise: &mut CorrelatedNoise,
    seeds: &DiscreteGaussian,
    source: &mut NoiseSource,
) -> Result<Vec<f32>, ReleaseError> {
    check(partial, fixed, denominator)?;
    let mut noised = vec![0; fixed.dimension()];
    partial.copy_sums(0, &mut noised);
    noise.add_next(&mut noised, seeds, source)?;
    let divisor = divisor(fixed, denominator);
    Ok(noised
        .iter()
        .map(|&sum| (sum as f64 / divisor) as f32)
        .collect())
}

fn check(partial: &Partial, fixed: &FixedPoint, denominator: f64) -> Result<(), ReleaseError> {
    let (expected, actual) = (fixed.dimension(), partial.dimension());
    if expected != actual {
        return Err(ReleaseError::DimensionMismatch { expected, actual });
    }
    // infinity would pass as a mean of zeros
    if !(denominator > 0.0 && denominator.is_finite()) {
        return Err(ReleaseError::BadDenominator { denominator });
    }
    Ok(())
}

/// Grid units of a sum in one parameter unit of its mean.
fn divisor(fixed: &FixedPoint, denominator: f64) -> f64 {
    SCALE as f64 * denominator / f64::from(fixed.clip())
}
