//! Mean over time.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Layer, Pass, Scratch, Shapes, channels_and_steps};
use crate::LayerError;
use crate::bundle::{BundleError, Reader};
use crate::engine::burn::Tensor;
use crate::quant::QuantError;
use crate::quant::arithmetic::rounding_mean;
use crate::quant::kernel::{Int8Tensor, Kernel, Lowered, Lowering, Step};

/// `[channels, steps]` to `[channels]`: the mean of each channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalAveragePool;

impl Layer for GlobalAveragePool {
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError> {
        let (channels, _) = channels_and_steps(input)?;
        Ok(vec![channels])
    }

    fn forward(
        &self,
        shapes: Shapes<'_>,
        _parameters: &[f32],
        input: &[f32],
        output: &mut [f32],
        _scratch: &mut Scratch,
    ) {
        for (mean, channel) in output.iter_mut().zip(input.chunks_exact(shapes.input[1])) {
            *mean = channel.iter().sum::<f32>() / shapes.input[1] as f32;
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
        let channels = input_gradient.chunks_exact_mut(shapes.input[1]);
        for (channel, &gradient) in channels.zip(pass.output_gradient) {
            channel.fill(gradient / shapes.input[1] as f32);
        }
    }

    fn lower(&self, shapes: Shapes<'_>, _parameters: &[Tensor<1>], input: Tensor<2>) -> Tensor<2> {
        let shape = [shapes.batch, shapes.input[0], shapes.input[1]];
        let mean = input.reshape(shape).mean_dim(2);
        mean.reshape([shapes.batch, shapes.input[0]])
    }
    fn lower_int8(&self, request: &Lowering<'_>) -> Result<Lowered, QuantError> {
        let steps = request.input.shape[1];
        Ok(request.same_scale_step(Int8GlobalAveragePool { steps }))
    }

    fn read_int8(
        code: u8,
        input: &Int8Tensor,
        _reader: &mut Reader<'_>,
    ) -> Option<Result<Step, BundleError>> {
        (code == INT8_CODE).then(|| {
            let shape = channels_and_steps(&input.shape);
            let (channels, steps) = shape.map_err(|_| BundleError::Field {
                what: "global_average_pool input",
            })?;
            Ok(Step {
                kernel: Arc::new(Int8GlobalAveragePool { steps }),
                output: Int8Tensor {
                    shape: vec![channels],
                    scale: input.scale,
                },
            })
        })
    }
}

/// Code of [`Int8GlobalAveragePool`] in a build.
const INT8_CODE: u8 = 5;

/// The layer on integers: the mean of the quantised values, ties away from zero, same scale (as
/// TensorFlow Lite's int8 average pooling).
#[derive(Debug)]
struct Int8GlobalAveragePool {
    /// Steps of the input.
    steps: usize,
}

impl Kernel for Int8GlobalAveragePool {
    fn code(&self) -> u8 {
        INT8_CODE
    }

    fn run(&self, input: &[i8], output: &mut [i8]) {
        // At most 2^26 steps, the activation limit.
        let count = self.steps as u32;
        for (output, signal) in output.iter_mut().zip(input.chunks_exact(self.steps)) {
            let sum = signal.iter().map(|&value| i64::from(value)).sum::<i64>();
            // The mean of i8 values is an i8.
            *output = rounding_mean(sum, count) as i8;
        }
    }

    fn write(&self, _bytes: &mut Vec<u8>) {}
}

#[cfg(test)]
mod int8_tests {
    use super::*;

    #[test]
    fn int8_mean_rounds_ties_away_from_zero() {
        let mut output = [0; 3];
        let input = [5, 6, -5, -6, -128, -128];
        Int8GlobalAveragePool { steps: 2 }.run(&input, &mut output);
        assert_eq!(output, [6, -6, -128]);
    }
}
