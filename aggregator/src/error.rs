//! Why an update is refused.

use std::fmt;

use tributary_privacy::VectorError;

use crate::codec::Codec;

/// Why a device's update, or the parameters it is checked against, are refused.
///
/// The texts are safe to log: none of them carries a value of the update or its norm.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum UpdateError {
    /// The byte string does not hold one value per parameter.
    #[error(
        "update has {actual} bytes but {codec} with {dimension} parameters needs {expected}; \
         send the whole delta of the layout named in the assignment",
        expected = Lengths(*shortest, *longest)
    )]
    WrongLength {
        /// Codec the bytes claim to use.
        codec: Codec,
        /// Number of parameters of the model.
        dimension: usize,
        /// The fewest bytes that `dimension` parameters take.
        shortest: usize,
        /// The most bytes that `dimension` parameters take.
        longest: usize,
        /// Bytes received.
        actual: usize,
    },
    /// The bytes are not an encoding of this codec.
    #[error("update is not a valid {codec} encoding: {reason}; encode it as the plan's codec says")]
    Malformed {
        /// Codec the bytes claim to use.
        codec: Codec,
        /// What is wrong with them.
        reason: &'static str,
    },
    /// The share of an update can't be used.
    #[error("share {share} is not usable; an update counts with more than 0 and at most 1")]
    BadShare {
        /// The refused share.
        share: f32,
    },
    /// The decoded vector is refused, or the grid that it is checked against.
    #[error(transparent)]
    Vector(#[from] VectorError),
}

/// One length, or the shortest and the longest of several.
struct Lengths(usize, usize);

impl fmt::Display for Lengths {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lengths(shortest, longest) = self;
        if shortest == longest {
            write!(formatter, "{shortest}")
        } else {
            write!(formatter, "{shortest} to {longest}")
        }
    }
}
