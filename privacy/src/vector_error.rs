//! Why a vector of `f32`, or the grid that it is rounded to, is refused.

/// Why a vector, or the grid that it is checked against, is refused.
///
/// The texts are safe to log: none of them carries a value of the vector or its norm.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum VectorError {
    /// The vector does not have one value per parameter.
    #[error(
        "update has {} bytes but f32 with {dimension} parameters needs {}; \
         send the whole delta of the layout named in the assignment",
        *actual * size_of::<f32>(),
        *dimension * size_of::<f32>()
    )]
    WrongLength {
        /// Number of parameters of the model.
        dimension: usize,
        /// Number of values given.
        actual: usize,
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
    /// The number of parameters can't be used.
    #[error("dimension {dimension} is not usable; a model has 1 to {max} parameters")]
    BadDimension {
        /// The refused dimension.
        dimension: usize,
        /// The largest dimension that is accepted.
        max: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_length_is_told_in_bytes_as_for_an_encoded_update() {
        let (dimension, actual) = (3, 2);
        let refused = VectorError::WrongLength { dimension, actual }.to_string();
        let expected = "update has 8 bytes but f32 with 3 parameters needs 12; ";
        assert!(refused.starts_with(expected), "{refused}");
    }
}
