//! Fully connected layer: `y = x W + b`.

use serde::{Deserialize, Serialize};

use super::{Blend, Layer, Parameter, Pass, Scratch, Shapes, at_least_one, matrix};
use crate::LayerError;
use crate::engine::burn::Tensor;
use crate::layout::Role;

/// Fully connected: `[in]` to `[units]`; weight `[in, units]`, bias `[units]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dense {
    /// Number of outputs, at least 1.
    pub units: usize,
}

impl Dense {
    /// The weight and the bias in the layer's part of the flat vector.
    fn split<'p>(&self, shapes: Shapes<'_>, parameters: &'p [f32]) -> (&'p [f32], &'p [f32]) {
        parameters.split_at(shapes.input[0] * self.units)
    }
}

impl Layer for Dense {
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError> {
        at_least_one("units", self.units)?;
        match input {
            [_] => Ok(vec![self.units]),
            _ => Err(LayerError::Rank {
                expected: "[features]",
                actual: input.to_vec(),
                remedy: "put flatten or global_average_pool before it",
            }),
        }
    }

    fn parameters(&self, input: &[usize]) -> Vec<Parameter> {
        vec![
            Parameter {
                name: "weight",
                shape: vec![input[0], self.units],
                role: Role::Weight,
                output_axis: 1,
            },
            Parameter {
                name: "bias",
                shape: vec![self.units],
                role: Role::Bias,
                output_axis: 0,
            },
        ]
    }

    fn macs(&self, input: &[usize]) -> u64 {
        input[0] as u64 * self.units as u64
    }

    fn forward(
        &self,
        shapes: Shapes<'_>,
        parameters: &[f32],
        input: &[f32],
        output: &mut [f32],
        _scratch: &mut Scratch,
    ) {
        let (weight, bias) = self.split(shapes, parameters);
        for row in output.chunks_exact_mut(self.units) {
            row.copy_from_slice(bias);
        }
        let input = matrix::view(input, shapes.batch, shapes.input[0]);
        let weight = matrix::view(weight, shapes.input[0], self.units);
        matrix::multiply(input, weight, Blend::ADD, output);
    }

    fn backward_input(
        &self,
        shapes: Shapes<'_>,
        parameters: &[f32],
        pass: Pass<'_>,
        input_gradient: &mut [f32],
        _scratch: &mut Scratch,
    ) {
        let (weight, _) = self.split(shapes, parameters);
        let weight = matrix::view(weight, shapes.input[0], self.units);
        let output_gradient = matrix::view(pass.output_gradient, shapes.batch, self.units);
        matrix::multiply(
            output_gradient,
            weight.reversed_axes(),
            Blend::REPLACE,
            input_gradient,
        );
    }

    fn backward_parameters(
        &self,
        shapes: Shapes<'_>,
        pass: Pass<'_>,
        blend: Blend,
        target: &mut [f32],
        _scratch: &mut Scratch,
    ) {
        let (weight, bias) = target.split_at_mut(shapes.input[0] * self.units);
        let input = matrix::view(pass.input, shapes.batch, shapes.input[0]);
        let output_gradient = matrix::view(pass.output_gradient, shapes.batch, self.units);
        matrix::multiply(input.reversed_axes(), output_gradient, blend, weight);
        let mut blend = blend;
        for row in pass.output_gradient.chunks_exact(self.units) {
            for (target, &value) in bias.iter_mut().zip(row) {
                blend.apply(target, value);
            }
            blend.keep = 1.0;
        }
    }

    fn lower(&self, shapes: Shapes<'_>, parameters: &[Tensor<1>], input: Tensor<2>) -> Tensor<2> {
        let weight = parameters[0].clone().reshape([shapes.input[0], self.units]);
        let bias = parameters[1].clone().reshape([1, self.units]);
        input.matmul(weight) + bias
    }
}
