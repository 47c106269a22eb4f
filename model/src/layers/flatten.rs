//! Any shape to one dimension.

use serde::{Deserialize, Serialize};

use super::{Layer, Pass, Scratch, Shapes};
use crate::LayerError;
use crate::engine::burn::Tensor;
use crate::quant::QuantError;
use crate::quant::kernel::{Lowered, Lowering};
use crate::spec::{MAX_ACTIVATIONS, volume};

/// Any shape to `[product]`, row major (the values keep their order).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flatten;

impl Layer for Flatten {
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError> {
        let size = volume(input, MAX_ACTIVATIONS).ok_or(LayerError::TooLarge {
            what: "output",
            limit: MAX_ACTIVATIONS,
        })?;
        Ok(vec![size])
    }

    fn forward(
        &self,
        _shapes: Shapes<'_>,
        _parameters: &[f32],
        input: &[f32],
        output: &mut [f32],
        _scratch: &mut Scratch,
    ) {
        output.copy_from_slice(input);
    }

    fn backward_input(
        &self,
        _shapes: Shapes<'_>,
        _parameters: &[f32],
        pass: Pass<'_>,
        input_gradient: &mut [f32],
        _scratch: &mut Scratch,
    ) {
        input_gradient.copy_from_slice(pass.output_gradient);
    }

    fn lower(&self, _shapes: Shapes<'_>, _parameters: &[Tensor<1>], input: Tensor<2>) -> Tensor<2> {
        input
    }
    fn lower_int8(&self, request: &Lowering<'_>) -> Result<Lowered, QuantError> {
        Ok(Lowered::Reshape(request.output_shape.to_vec()))
    }
}
