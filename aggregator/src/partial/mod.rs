//! Mergeable integer sums of contributions.

mod add;
mod error;
mod limits;
mod stored;
mod sums;
mod totals;

use std::fmt;

pub use add::{EncodedContribution, Faults};
pub use error::PartialError;
pub use limits::{MAX_CONTRIBUTIONS, MAX_WEIGHT, WEIGHT_ONE};

use crate::fixed_point::Contribution;
use sums::Sums;
use totals::Totals;

/// The exact sum of some contributions of one region or shard.
///
/// Addition of integers is associative and commutative, so every order of arrival and every split
/// into partials that are merged later give identical bits. Up to 1023 contributions take 4 bytes a
/// parameter, more of them 12. Two partials are equal when their sums, counts, weights and work
/// are. `Debug` shows no sum.
#[derive(Clone)]
pub struct Partial {
    sums: Sums,
    totals: Totals,
}

impl Partial {
    /// The empty sum over `dimension` parameters, a number that
    /// [`FixedPoint::new`](crate::FixedPoint::new) has accepted (4 bytes each are allocated).
    pub fn new(dimension: usize) -> Self {
        Self {
            sums: Sums::new(dimension),
            totals: Totals::default(),
        }
    }

    /// Number of parameters.
    pub fn dimension(&self) -> usize {
        self.sums.len()
    }

    /// Number of contributions summed.
    pub fn count(&self) -> u64 {
        self.totals.count
    }

    /// Sum of the weights, in units of 2^-20.
    pub fn weight(&self) -> u64 {
        self.totals.weight
    }

    /// Sum of the work, in units of 2^-20.
    pub fn work(&self) -> u64 {
        self.totals.work
    }

    /// True when nothing was added.
    pub fn is_empty(&self) -> bool {
        self.totals.count == 0
    }

    /// The sums in the order of the parameters. They carry no noise: they never leave the trusted
    /// aggregator under privacy.
    pub fn sums(&self) -> impl ExactSizeIterator<Item = i64> + '_ {
        self.sums.iter()
    }

    /// Copies the sums from parameter `start` on into `sums`, as many as both have.
    pub(crate) fn copy_sums(&self, start: usize, sums: &mut [i64]) {
        self.sums.copy_to(start, sums);
    }

    /// Adds one contribution of weight 1.
    ///
    /// # Errors
    /// [`PartialError::DimensionMismatch`], [`PartialError::TooManyContributions`],
    /// [`PartialError::TooMuch`]; the partial is then unchanged.
    pub fn add(&mut self, contribution: &Contribution) -> Result<(), PartialError> {
        self.check_dimension(contribution.values().len())?;
        self.totals = self.totals.plus(Totals::one(WEIGHT_ONE, 0)?)?;
        self.sums.add_integers(contribution.values());
        Ok(())
    }

    /// Adds the sums, counts, weights and work of `other`.
    ///
    /// # Errors
    /// [`PartialError::DimensionMismatch`], [`PartialError::TooManyContributions`],
    /// [`PartialError::TooMuch`]; the partial is then unchanged.
    pub fn merge(&mut self, other: &Partial) -> Result<(), PartialError> {
        self.check_dimension(other.dimension())?;
        self.totals = self.totals.plus(other.totals)?;
        self.sums.merge(&other.sums);
        Ok(())
    }

    fn check_dimension(&self, actual: usize) -> Result<(), PartialError> {
        let expected = self.dimension();
        if actual == expected {
            return Ok(());
        }
        Err(PartialError::DimensionMismatch { expected, actual })
    }
}

impl PartialEq for Partial {
    fn eq(&self, other: &Self) -> bool {
        self.totals == other.totals && self.sums.iter().eq(other.sums.iter())
    }
}

impl Eq for Partial {}

impl fmt::Debug for Partial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Partial({} parameters, {} contributions)",
            self.dimension(),
            self.count()
        )
    }
}
