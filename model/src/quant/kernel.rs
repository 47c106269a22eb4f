//! What a layer provides to run on integers.
//!
//! A layer turns itself into a [`Step`] when a model is quantised
//! ([`Layer::lower_int8`](crate::layers::Layer::lower_int8)), and reads that step back from a build
//! ([`Layer::read_int8`](crate::layers::Layer::read_int8)). Steps form a chain: each reads the
//! tensor the one before it wrote.

use std::fmt;
use std::sync::Arc;

use super::QuantError;
use super::scale::ActivationScale;
use crate::layout::{ParamEntry, Role};

/// A tensor of integer inference: the shape of one example and the meaning of its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Int8Tensor {
    /// `[features]` or `[channels, steps]`, row major.
    pub shape: Vec<usize>,
    /// The real number each int8 value stands for.
    pub scale: ActivationScale,
}

impl Int8Tensor {
    /// Number of values, which is also the size in bytes.
    ///
    /// Shapes are checked against the activation limit before a tensor is made; an absurd one
    /// saturates.
    pub fn len(&self) -> usize {
        self.shape
            .iter()
            .fold(1, |product: usize, &size| product.saturating_mul(size))
    }

    /// Whether the tensor has no values, which no checked shape has.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The integer arithmetic of one step.
pub trait Kernel: fmt::Debug + Send + Sync {
    /// The step's code in a build; unique among layers, never reused.
    fn code(&self) -> u8;

    /// Computes `output` from `input`; both have the lengths of the step's tensors.
    fn run(&self, input: &[i8], output: &mut [i8]);

    /// Appends what follows the code in a build: everything `read_int8` needs.
    fn write(&self, bytes: &mut Vec<u8>);
}

/// A kernel and the tensor it writes.
#[derive(Debug, Clone)]
pub struct Step {
    /// The arithmetic.
    pub kernel: Arc<dyn Kernel>,
    /// What it writes.
    pub output: Int8Tensor,
}

/// The integer form of a layer.
#[derive(Debug, Clone)]
pub enum Lowered {
    /// The values stay as they are and only the shape changes: nothing to run or to store.
    Reshape(Vec<usize>),
    /// A step to run.
    Step(Step),
}

/// What a layer is given to become integer.
#[derive(Debug, Clone)]
pub struct Lowering<'a> {
    /// Position of the layer in the spec, for errors.
    pub index: usize,
    /// The tensor it reads.
    pub input: &'a Int8Tensor,
    /// Shape of its output.
    pub output_shape: &'a [usize],
    /// Scale wanted for its output, from the observed range (after the ReLU it absorbs, if any).
    pub output_scale: ActivationScale,
    /// Whether it must absorb the ReLU that follows.
    pub relu: bool,
    /// Its tensors with their values.
    pub parameters: Vec<(&'a ParamEntry, &'a [f32])>,
}

impl<'a> Lowering<'a> {
    /// The layer's tensor of that role.
    pub fn parameter(&self, role: Role) -> Option<(&'a ParamEntry, &'a [f32])> {
        self.parameters
            .iter()
            .find(|(entry, _)| entry.role == role)
            .copied()
    }

    /// A step that keeps the scale of its input.
    pub fn same_scale_step(&self, kernel: impl Kernel + 'static) -> Lowered {
        let shape = self.output_shape.to_vec();
        let output = Int8Tensor {
            shape,
            scale: self.input.scale,
        };
        Lowered::Step(Step {
            kernel: Arc::new(kernel),
            output,
        })
    }

    /// The error of a layer without an integer form.
    pub fn unsupported(&self, kind: &'static str) -> QuantError {
        QuantError::Unsupported {
            index: self.index,
            kind,
        }
    }
}
