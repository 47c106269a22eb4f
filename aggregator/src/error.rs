//! Why an update is refused.

use std::fmt;

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
    /// A value is NaN or infinite.
    #[error(
        "update value {index} is not finite; send what was trained only when all of it is finite, or \
         a vector of zeros"
    )]
    NotFinite {
        /// Position of the first offending value in the flat parameter vector.
        index: usize,
    },
    /// The L2 norm is above the bound that the noise is calibrated for.
    #[error(
        "update norm is above clip {clip} (integer bound {bound}); \
         clip the delta to the assignment's clip before encoding it"
    )]
    NormTooLarge {
        /// The clip in parameter units.
        clip: f32,
        /// The same bound on the integer vector, rounding included.
        bound: u64,
    },
    /// The clip can't be used.
    #[error("clip {clip} is not usable; choose a value from 1e-12 to 1e12")]
    BadClip {
        /// The refused clip.
        clip: f32,
    },
    /// The share of an update can't be used.
    #[error("share {share} is not usable; an update counts with more than 0 and at most 1")]
    BadShare {
        /// The refused share.
        share: f32,
    },
    /// The number of parameters can't be used.
    #[error("dimension {dimension} is not usable; a model has 1 to {max} parameters")]
    BadDimension {
        /// The refused dimension.
        dimension: usize,
        /// The largest dimension that is accepted.
        max: usize,
    },
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
