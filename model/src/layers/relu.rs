//! Rectified linear unit: `max(0, x)`.

use serde::{Deserialize, Serialize};

use super::{Layer, Pass, Scratch, Shapes};
use crate::LayerError;
use crate::engine::burn::{Tensor, relu};

/// `max(0, x)`, any shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relu;

impl Layer for Relu {
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError> {
        Ok(input.to_vec())
    }

    fn forward(
        &self,
        _shapes: Shapes<'_>,
        _parameters: &[f32],
        input: &[f32],
        output: &mut [f32],
        _scratch: &mut Scratch,
    ) {
        for (output, &input) in output.iter_mut().zip(input) {
            *output = input.max(0.0);
        }
    }

    fn backward_input(
        &self,
        _shapes: Shapes<'_>,
        _parameters: &[f32],
        pass: Pass<'_>,
        input_gradient: &mut [f32],
        _scratch: &mut Scratch,
    ) {
        let gradients = pass.output.iter().zip(pass.output_gradient);
        for (input_gradient, (&output, &gradient)) in input_gradient.iter_mut().zip(gradients) {
            *input_gradient = if output > 0.0 { gradient } else { 0.0 };
        }
    }

    fn lower(&self, _shapes: Shapes<'_>, _parameters: &[Tensor<1>], input: Tensor<2>) -> Tensor<2> {
        relu(input)
    }
}
