//! Why a sum refuses something.

use super::limits::{MAX_CONTRIBUTIONS, MAX_WEIGHT};
use crate::error::UpdateError;

/// Why a partial can't be built, merged or read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PartialError {
    /// The number of parameters differs.
    #[error(
        "partial has {expected} parameters, the other side has {actual}; both must come from one model version"
    )]
    DimensionMismatch {
        /// Parameters of this partial.
        expected: usize,
        /// Parameters of the contribution, partial or grid offered to it.
        actual: usize,
    },
    /// More contributions than a partial can hold.
    #[error(
        "partial would hold more than {MAX_CONTRIBUTIONS} contributions; release the round first"
    )]
    TooManyContributions,
    /// The weight or work of one contribution is out of range.
    #[error(
        "{field} {value} is not usable; it counts in units of 2^-20, weight from 1 and work from 0, \
         both to {MAX_WEIGHT}"
    )]
    BadWeight {
        /// `weight` or `work`.
        field: &'static str,
        /// The refused number.
        value: u64,
    },
    /// The sum of weights or of work would leave 64 bits.
    #[error("partial would hold more {field} than 64 bits count; release the round first")]
    TooMuch {
        /// `weight` or `work`.
        field: &'static str,
    },
    /// The update itself is refused.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// Stored bytes are not a partial of this version.
    #[error("stored partial is not readable: {reason}; restore the blob or abort the round")]
    Malformed {
        /// What is wrong with the bytes.
        reason: &'static str,
    },
}
