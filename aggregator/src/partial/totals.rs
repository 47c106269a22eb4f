//! What is counted beside the sums.

use super::PartialError;
use super::limits::{MAX_CONTRIBUTIONS, MAX_WEIGHT};

/// Contributions, their weight and their work; none of them wraps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub count: u64,
    pub weight: u64,
    pub work: u64,
}

impl Totals {
    /// One contribution.
    pub fn one(weight: u64, work: u64) -> Result<Self, PartialError> {
        if weight == 0 || weight > MAX_WEIGHT {
            let (field, value) = ("weight", weight);
            return Err(PartialError::BadWeight { field, value });
        }
        if work > MAX_WEIGHT {
            let (field, value) = ("work", work);
            return Err(PartialError::BadWeight { field, value });
        }
        let count = 1;
        Ok(Self {
            count,
            weight,
            work,
        })
    }

    /// Both together.
    pub fn plus(self, more: Self) -> Result<Self, PartialError> {
        let count = self.count.checked_add(more.count);
        let count = count.filter(|&count| count <= MAX_CONTRIBUTIONS);
        let weight = self.weight.checked_add(more.weight);
        let work = self.work.checked_add(more.work);
        Ok(Self {
            count: count.ok_or(PartialError::TooManyContributions)?,
            weight: weight.ok_or(PartialError::TooMuch { field: "weight" })?,
            work: work.ok_or(PartialError::TooMuch { field: "work" })?,
        })
    }

    /// True when contributions of the allowed weights can add up to these numbers.
    pub fn is_possible(self) -> bool {
        let most = u128::from(self.count) * u128::from(MAX_WEIGHT);
        self.count <= MAX_CONTRIBUTIONS
            && self.weight >= self.count
            && u128::from(self.weight) <= most
            && u128::from(self.work) <= most
    }
}
