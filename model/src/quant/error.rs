//! Why a model can't be brought to integers.

use thiserror::Error;

/// Why a model can't be brought to integers.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum QuantError {
    /// There is not one range per tensor.
    #[error(
        "activation ranges cover {actual} tensors, expected {expected} (the input and one per layer); observe them on this model"
    )]
    RangeCount {
        /// Tensors of the model.
        expected: usize,
        /// Ranges given.
        actual: usize,
    },
    /// A range is not usable.
    #[error(
        "activation range {index} is {minimum} to {maximum}; it must be finite, in order and of normal size, observe it again"
    )]
    Range {
        /// 0 for the input, `i + 1` for the output of layer `i`.
        index: usize,
        /// Lower end.
        minimum: f32,
        /// Upper end.
        maximum: f32,
    },
    /// The layer has no integer form in this place.
    #[error("layer {index} ({kind}) has no integer kernel here; remove it or move it to the end")]
    Unsupported {
        /// Position in the spec, from 0.
        index: usize,
        /// Kind as written in the spec.
        kind: &'static str,
    },
    /// The ranges before and after a layer differ too much for a fixed-point factor.
    #[error(
        "layer {index}: channel {channel} would be scaled by {factor}, beyond 2^30; observe the activation ranges again"
    )]
    Factor {
        /// Position in the spec, from 0.
        index: usize,
        /// Output channel.
        channel: usize,
        /// The factor from sums of products to output steps.
        factor: f64,
    },
    /// A sum of products could pass 32 bits.
    #[error(
        "layer {index}: the sum of channel {channel} could pass 32 bits; give the layer fewer inputs"
    )]
    Accumulator {
        /// Position in the spec, from 0.
        index: usize,
        /// Output channel.
        channel: usize,
    },
}
