//! Which correlation a run uses and what it costs.

use serde::{Deserialize, Serialize};

use super::dimension::check_dimension;
use super::{Blt, FtrlError, Participation, integer_blt, tree};
use crate::noise::DiscreteGaussian;

/// Relative margin on floats: closed forms here are right to 2^-30.
const MARGIN: f64 = 1.0 / (1u64 << 28) as f64;
/// Most that one device may add to a BLT's buffers over a run, in grid units; see `integer_blt`.
const LARGEST_TOTAL: u64 = 1 << 44;
/// Squared sensitivities beyond this can't be charged anyway.
const LARGEST_SQUARED: f64 = (1u128 << 126) as f64;

/// How the noise of a run is correlated over its rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Buffered linear Toeplitz: the least noise.
    Blt(Blt),
    /// Binary tree: sums of integers only, more noise.
    Tree,
}

impl Strategy {
    /// Upper bound, in grid units, of the squared L2 norm by which one device changes the seeds of a
    /// whole run: rho of the run is this over 2 sigma^2.
    ///
    /// `bound` is the largest L2 norm B of one contribution in grid units. The charge of the j-th
    /// participation is what `participation.with_most(j)` costs more than `with_most(j - 1)`, or than
    /// nothing for the first; it is never negative, and nothing beyond the ones that fit.
    ///
    /// For a BLT it includes everything that rounding can add; the proofs are in `integer_blt` and
    /// `tree`.
    ///
    /// # Errors
    /// [`FtrlError::BadParticipation`], [`FtrlError::BadDimension`],
    /// [`FtrlError::SensitivityTooLarge`] beyond 2^126, and for a BLT when B times the participations
    /// exceeds 2^44.
    pub fn squared_sensitivity(
        &self,
        participation: &Participation,
        bound: u64,
        dimension: usize,
    ) -> Result<u128, FtrlError> {
        participation.validate()?;
        check_dimension(dimension)?;
        let too_large = FtrlError::SensitivityTooLarge { bound };
        match self {
            Self::Tree => tree::squared_sensitivity(participation)
                .checked_mul(u128::from(bound).pow(2))
                .filter(|&squared| squared as f64 <= LARGEST_SQUARED)
                .ok_or(too_large),
            Self::Blt(blt) => {
                let total = bound.saturating_mul(u64::from(participation.effective_most()));
                if total > LARGEST_TOTAL {
                    return Err(too_large);
                }
                let values = f64::from(participation.rounds) * dimension as f64;
                let rounding = integer_blt::slack(blt, participation.rounds) * values.sqrt();
                let moved = blt.squared_sensitivity(participation).sqrt() * bound as f64;
                let squared = (moved + rounding).powi(2) * (1.0 + MARGIN);
                if squared <= LARGEST_SQUARED {
                    Ok(squared.ceil() as u128)
                } else {
                    Err(too_large)
                }
            }
        }
    }

    /// Variance of the noise in the sum of all rounds up to `round`, per unit of sigma^2.
    ///
    /// Rounding to the grid adds up to round / 12 grid units squared to that of a BLT, which is
    /// nothing at the scales in use.
    pub fn running_sum_variance(&self, round: u32) -> f64 {
        match self {
            Self::Blt(blt) => blt.errors(round as usize).max_squared,
            Self::Tree => f64::from(tree::open_nodes(round)),
        }
    }

    /// Whether seeds of this noise can be drawn for a whole run.
    ///
    /// # Errors
    /// [`FtrlError::SigmaTooLarge`] with the largest sigma that the proof covers.
    pub fn check_sigma(&self, seed_noise: &DiscreteGaussian) -> Result<(), FtrlError> {
        match self {
            Self::Blt(blt) => {
                integer_blt::fine_seed_noise(seed_noise, integer_blt::largest_sigma(blt))?;
                Ok(())
            }
            Self::Tree => Ok(()),
        }
    }

    /// Vectors that a state holds after `round` rounds.
    pub(super) fn vectors(&self, round: u32) -> usize {
        match self {
            Self::Blt(blt) => blt.buffers(),
            Self::Tree => tree::open_nodes(round) as usize,
        }
    }
}
