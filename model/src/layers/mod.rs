//! The closed list of layers, one file each.
//!
//! To add a layer, write `layers/NAME.rs` with a struct that implements [`Layer`] and add one
//! line to the `layers!` list below. The name of the file is the layer's `kind` in a spec and must
//! be the struct's name in snake case.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::LayerError;
use crate::bundle::{BundleError, Reader};
use crate::engine::burn::Tensor;
use crate::layout::Role;
use crate::quant::QuantError;
use crate::quant::kernel::{Int8Tensor, Lowered, Lowering, Step};

mod matrix;

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

/// The shapes of one pass of a batch through a layer.
#[derive(Debug, Clone, Copy)]
pub struct Shapes<'a> {
    /// Number of examples, at least 1.
    pub batch: usize,
    /// Input shape of one example.
    pub input: &'a [usize],
    /// Output shape of one example.
    pub output: &'a [usize],
}

/// What the forward pass left for the backward pass. All are `batch` examples, row major.
#[derive(Debug, Clone, Copy)]
pub struct Pass<'a> {
    /// What went into the layer.
    pub input: &'a [f32],
    /// What came out.
    pub output: &'a [f32],
    /// Derivative of the loss by `output`.
    pub output_gradient: &'a [f32],
}

/// How a new value `v` enters a target `t`: `t = keep t + scale v`, where `keep = 0` overwrites
/// whatever was there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Blend {
    /// Factor of the old value.
    pub keep: f32,
    /// Factor of the new value.
    pub scale: f32,
}

impl Blend {
    /// `t = v`.
    pub const REPLACE: Self = Self {
        keep: 0.0,
        scale: 1.0,
    };
    /// `t = t + v`.
    pub const ADD: Self = Self {
        keep: 1.0,
        scale: 1.0,
    };

    /// `t = t - learning_rate v`: one step of gradient descent without storing the gradient.
    pub const fn descend(learning_rate: f32) -> Self {
        Self {
            keep: 1.0,
            scale: -learning_rate,
        }
    }

    /// Blends `value` into `target`.
    pub fn apply(self, target: &mut f32, value: f32) {
        let kept = if self.keep == 0.0 {
            0.0
        } else {
            self.keep * *target
        };
        *target = kept + self.scale * value;
    }
}

/// Memory a layer keeps from one pass to the next. It grows to the largest batch seen and is
/// never given back, so that steps don't allocate.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    /// Room for numbers.
    pub values: Vec<f32>,
    /// Room for positions.
    pub indices: Vec<u32>,
}

/// What a layer can do. Shapes are those of one example; `input` shapes passed to any method
/// but [`output_shape`](Layer::output_shape) have been accepted by it, and slices have the lengths
/// that the shapes give.
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

    /// Computes `output` (`batch` examples) from `input`. `parameters` is the layer's part of the
    /// flat vector.
    fn forward(
        &self,
        shapes: Shapes<'_>,
        parameters: &[f32],
        input: &[f32],
        output: &mut [f32],
        scratch: &mut Scratch,
    );

    /// Computes the derivative of the loss by the layer's input, overwriting `input_gradient`.
    /// Called after [`forward`](Layer::forward) of the same batch with the same scratch.
    fn backward_input(
        &self,
        shapes: Shapes<'_>,
        parameters: &[f32],
        pass: Pass<'_>,
        input_gradient: &mut [f32],
        scratch: &mut Scratch,
    );

    /// Blends the derivative of the loss by the layer's parameters into `target`, which has the
    /// order of the layer's part of the flat vector. Called after
    /// [`backward_input`](Layer::backward_input), so `target` may be the parameters themselves.
    fn backward_parameters(
        &self,
        shapes: Shapes<'_>,
        pass: Pass<'_>,
        blend: Blend,
        target: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let _ = (shapes, pass, blend, target, scratch);
    }

    /// The same forward pass on burn's tensors: `input` is `[batch, input size]`, the result
    /// `[batch, output size]`, `parameters` one flat tensor per entry of
    /// [`parameters`](Layer::parameters).
    fn lower(&self, shapes: Shapes<'_>, parameters: &[Tensor<1>], input: Tensor<2>) -> Tensor<2>;
    /// The same layer with another number of output channels; `None` if it does not choose that
    /// number itself.
    fn with_channels(&self, channels: usize) -> Option<LayerSpec> {
        let _ = channels;
        None
    }

    /// Whether its integer kernel can take in a ReLU that follows: the lower bound of a clamp it
    /// makes anyway.
    fn absorbs_relu(&self) -> bool {
        false
    }

    /// The layer's integer form.
    ///
    /// # Errors
    /// If it has none in this place, or numbers of it can't be represented.
    fn lower_int8(&self, request: &Lowering<'_>) -> Result<Lowered, QuantError>;

    /// Reads a step of this layer back from a build, given its input; `None` if `code` is not the
    /// code of this layer's kernel. Must accept any bytes: sizes are checked, nothing is allocated
    /// beyond what the reader gives, and shapes stay within the activation limit.
    fn read_int8(
        code: u8,
        input: &Int8Tensor,
        reader: &mut Reader<'_>,
    ) -> Option<Result<Step, BundleError>>
    where
        Self: Sized,
    {
        let _ = (code, input, reader);
        None
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

            /// Reads the step of that code from a build, asking one layer after the other.
            pub(crate) fn read_int8(
                code: u8,
                input: &Int8Tensor,
                reader: &mut Reader<'_>,
            ) -> Result<Step, BundleError> {
                $(if let Some(step) = <$layer as Layer>::read_int8(code, input, reader) {
                    return step;
                })+
                Err(BundleError::UnknownStep { code })
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

pub(crate) use softmax::probabilities as softmax_probabilities;

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
