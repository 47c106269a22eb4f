//! Scores to probabilities.

use serde::{Deserialize, Serialize};

use super::{Layer, Pass, Scratch, Shapes};
use crate::LayerError;
use crate::engine::burn::{Tensor, softmax};
use crate::quant::QuantError;
use crate::quant::kernel::{Lowered, Lowering};

/// `[classes]` to `[classes]`: `exp(x_i) / sum_j exp(x_j)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Softmax;

impl Layer for Softmax {
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError> {
        match input {
            [_] => Ok(input.to_vec()),
            _ => Err(LayerError::Rank {
                expected: "[classes]",
                actual: input.to_vec(),
                remedy: "put flatten or global_average_pool before it",
            }),
        }
    }

    fn forward(
        &self,
        shapes: Shapes<'_>,
        _parameters: &[f32],
        input: &[f32],
        output: &mut [f32],
        _scratch: &mut Scratch,
    ) {
        let rows = input.chunks_exact(shapes.input[0]);
        for (input, output) in rows.zip(output.chunks_exact_mut(shapes.input[0])) {
            probabilities(input, output);
        }
    }

    fn backward_input(
        &self,
        shapes: Shapes<'_>,
        _parameters: &[f32],
        pass: Pass<'_>,
        input_gradient: &mut [f32],
        _scratch: &mut Scratch,
    ) {
        let classes = shapes.input[0];
        let gradients = pass.output_gradient.chunks_exact(classes);
        let rows = pass.output.chunks_exact(classes).zip(gradients);
        for ((output, gradient), target) in rows.zip(input_gradient.chunks_exact_mut(classes)) {
            let mean: f32 = output.iter().zip(gradient).map(|(p, g)| p * g).sum();
            for ((target, p), g) in target.iter_mut().zip(output).zip(gradient) {
                *target = p * (g - mean);
            }
        }
    }

    fn lower(&self, _shapes: Shapes<'_>, _parameters: &[Tensor<1>], input: Tensor<2>) -> Tensor<2> {
        softmax(input, 1)
    }
    fn lower_int8(&self, request: &Lowering<'_>) -> Result<Lowered, QuantError> {
        // A softmax at the end never gets here: the scores' order does not need it.
        Err(request.unsupported("softmax"))
    }
}

/// Writes the softmax of one row of scores to `output` and returns the logarithm of its
/// normaliser, `ln sum_j exp(x_j)`. The largest score is subtracted first, so that no exponential
/// overflows.
pub(crate) fn probabilities(scores: &[f32], output: &mut [f32]) -> f32 {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for (output, &score) in output.iter_mut().zip(scores) {
        *output = (score - largest).exp();
        sum += *output;
    }
    output.iter_mut().for_each(|value| *value /= sum);
    largest + sum.ln()
}
