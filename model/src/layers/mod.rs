//! The closed list of layers, one file each.
//!
//! To add a layer, write `layers/NAME.rs` with a struct that implements [`Layer`] and add one
//! line to the `layers!` list below. The name of the file is the layer's `kind` in a spec and must
//! be the struct's name in snake case.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::LayerError;
use crate::layout::Role;

/// A parameter tensor that a layer asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Name within the layer: `weight` or `bias`.
    pub name: &'static str,
    /// Sizes, row major.
    pub shape: Vec<usize>,
    /// Weight or bias.
    pub role: Role,
    /// The dimension of `shape` that counts output channels.
    pub output_axis: usize,
}

/// What a layer can do. Shapes are those of one example; `input` shapes passed to any method
/// but [`output_shape`](Layer::output_shape) have been accepted by it.
pub trait Layer: fmt::Debug {
    /// The shape this layer makes of `input`.
    ///
    /// # Errors
    /// If a field is out of range or the layer can't take that shape.
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError>;

    /// The tensors this layer learns, in the order they take in the flat vector.
    fn parameters(&self, input: &[usize]) -> Vec<Parameter> {
        let _ = input;
        Vec::new()
    }

    /// Multiply-accumulate operations of one forward pass of one example.
    fn macs(&self, input: &[usize]) -> u64 {
        let _ = input;
        0
    }
}

macro_rules! layers {
    ($($module:ident :: $layer:ident: $doc:literal),+ $(,)?) => {
        $(mod $module;)+
        $(pub use $module::$layer;)+

        /// One layer of a [`ModelSpec`](crate::ModelSpec); in JSON and TOML told apart by `kind`.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case")]
        pub enum LayerSpec {
            $(#[doc = $doc] $layer($layer),)+
        }

        impl LayerSpec {
            /// The kinds a spec may name.
            pub const KINDS: &[&str] = &[$(stringify!($module)),+];

            /// The kind as written in a spec.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$layer(_) => stringify!($module),)+ }
            }

            /// What the layer can do.
            pub fn layer(&self) -> &dyn Layer {
                match self { $(Self::$layer(layer) => layer,)+ }
            }
        }

        $(impl From<$layer> for LayerSpec {
            fn from(layer: $layer) -> Self {
                Self::$layer(layer)
            }
        })+
    };
}

layers! {
    dense::Dense: "Fully connected: `[in]` to `[units]`.",
    conv1d::Conv1d: "Convolution over time: `[channels, steps]` to `[filters, steps']`.",
    relu::Relu: "`max(0, x)`, any shape.",
    max_pool1d::MaxPool1d: "Largest value per window of time, per channel.",
    global_average_pool::GlobalAveragePool: "Mean over time: `[channels, steps]` to `[channels]`.",
    flatten::Flatten: "Any shape to one dimension, row major.",
    softmax::Softmax: "Scores to probabilities: `[classes]` to `[classes]`.",
}

/// Refuses a zero in a field that must be at least 1.
pub(crate) fn at_least_one(field: &'static str, value: usize) -> Result<(), LayerError> {
    if value == 0 {
        Err(LayerError::Zero { field })
    } else {
        Ok(())
    }
}

/// `[channels, steps]`, or an error that says so.
pub(crate) fn channels_and_steps(input: &[usize]) -> Result<(usize, usize), LayerError> {
    match *input {
        [channels, steps] => Ok((channels, steps)),
        _ => Err(LayerError::Rank {
            expected: "[channels, steps]",
            actual: input.to_vec(),
            remedy: "give the model a two-dimensional input and put this layer before flatten",
        }),
    }
}

/// Output steps of a window that slides without padding.
pub(crate) fn windows(
    field: &'static str,
    window: usize,
    stride: usize,
    steps: usize,
) -> Result<usize, LayerError> {
    at_least_one(field, window)?;
    at_least_one("stride", stride)?;
    if window > steps {
        return Err(LayerError::WindowTooLong {
            field,
            window,
            steps,
        });
    }
    Ok((steps - window) / stride + 1)
}
