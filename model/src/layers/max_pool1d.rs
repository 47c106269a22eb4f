//! Largest value per window of time.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Layer, Pass, Scratch, Shapes, channels_and_steps, windows};
use crate::LayerError;
use crate::bundle::{BundleError, Reader};
use crate::engine::burn::{MaxPoolOptions, Tensor, max_pool1d};
use crate::quant::QuantError;
use crate::quant::kernel::{Int8Tensor, Kernel, Lowered, Lowering, Step};

/// `[channels, steps]` to `[channels, (steps - size) / stride + 1]`, without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "MaxPool1dFields")]
pub struct MaxPool1d {
    /// Length of the window in steps, 1 to the steps of the input.
    pub size: usize,
    /// Steps from one window to the next, at least 1; `size` if not given.
    pub stride: usize,
}

/// The fields as a person writes them: serde can't default one field to another.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename = "max_pool1d")]
struct MaxPool1dFields {
    size: usize,
    stride: Option<usize>,
}

impl From<MaxPool1dFields> for MaxPool1d {
    fn from(fields: MaxPool1dFields) -> Self {
        Self {
            size: fields.size,
            stride: fields.stride.unwrap_or(fields.size),
        }
    }
}

impl Layer for MaxPool1d {
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError> {
        let (channels, steps) = channels_and_steps(input)?;
        Ok(vec![
            channels,
            windows("size", self.size, self.stride, steps)?,
        ])
    }

    fn forward(
        &self,
        shapes: Shapes<'_>,
        _parameters: &[f32],
        input: &[f32],
        output: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let (steps, windows) = (shapes.input[1], shapes.output[1]);
        scratch.indices.resize(output.len(), 0);
        let outputs = output.chunks_exact_mut(windows);
        let positions = scratch.indices.chunks_exact_mut(windows);
        let channels = input.chunks_exact(steps).zip(outputs.zip(positions));
        for (channel, (output, positions)) in channels {
            for (window, (output, position)) in output.iter_mut().zip(positions).enumerate() {
                let start = window * self.stride;
                (*output, *position) = largest(&channel[start..start + self.size], start);
            }
        }
    }

    fn backward_input(
        &self,
        shapes: Shapes<'_>,
        _parameters: &[f32],
        pass: Pass<'_>,
        input_gradient: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let (steps, windows) = (shapes.input[1], shapes.output[1]);
        input_gradient.fill(0.0);
        let gradients = pass.output_gradient.chunks_exact(windows);
        let positions = scratch.indices.chunks_exact(windows);
        let channels = input_gradient
            .chunks_exact_mut(steps)
            .zip(gradients.zip(positions));
        for (channel, (gradients, positions)) in channels {
            for (&gradient, &position) in gradients.iter().zip(positions) {
                channel[position as usize] += gradient;
            }
        }
    }

    fn lower(&self, shapes: Shapes<'_>, _parameters: &[Tensor<1>], input: Tensor<2>) -> Tensor<2> {
        let shape = [shapes.batch, shapes.input[0], shapes.input[1]];
        let options = MaxPoolOptions::new([self.size]).with_stride([self.stride]);
        let output = max_pool1d(input.reshape(shape), options);
        output.reshape([shapes.batch, shapes.output[0] * shapes.output[1]])
    }
    fn lower_int8(&self, request: &Lowering<'_>) -> Result<Lowered, QuantError> {
        Ok(request.same_scale_step(Int8MaxPool1d {
            steps: request.input.shape[1],
            windows: request.output_shape[1],
            pool: Self {
                size: self.size,
                // A longer stride makes one window as well, and this one fits the build's field.
                stride: self.stride.min(request.input.shape[1]),
            },
        }))
    }

    fn read_int8(
        code: u8,
        input: &Int8Tensor,
        reader: &mut Reader<'_>,
    ) -> Option<Result<Step, BundleError>> {
        (code == INT8_CODE).then(|| Int8MaxPool1d::read(input, reader))
    }
}

/// The largest value of a window and its step in the channel; the first of equals.
fn largest(window: &[f32], start: usize) -> (f32, u32) {
    let mut best = (window[0], 0);
    for (offset, &value) in window.iter().enumerate().skip(1) {
        if value > best.0 {
            best = (value, offset);
        }
    }
    // steps are below 2^26, see MAX_ACTIVATIONS
    (best.0, (start + best.1) as u32)
}

/// Code of [`Int8MaxPool1d`] in a build.
const INT8_CODE: u8 = 4;

/// The layer on integers: order is kept by quantisation, so the scale stays.
#[derive(Debug)]
struct Int8MaxPool1d {
    /// Steps of the input.
    steps: usize,
    /// Steps of the output.
    windows: usize,
    pool: MaxPool1d,
}

impl Int8MaxPool1d {
    fn read(input: &Int8Tensor, reader: &mut Reader<'_>) -> Result<Step, BundleError> {
        let out_of_range = |what| BundleError::Field { what };
        let (channels, steps) =
            channels_and_steps(&input.shape).map_err(|_| out_of_range("max_pool1d input"))?;
        let pool = MaxPool1d {
            size: reader.dimension("size")?,
            stride: reader.dimension("stride")?,
        };
        let windows =
            windows("size", pool.size, pool.stride, steps).map_err(|_| out_of_range("size"))?;
        Ok(Step {
            kernel: Arc::new(Self {
                steps,
                windows,
                pool,
            }),
            output: Int8Tensor {
                shape: vec![channels, windows],
                scale: input.scale,
            },
        })
    }
}

impl Kernel for Int8MaxPool1d {
    fn code(&self) -> u8 {
        INT8_CODE
    }

    fn run(&self, input: &[i8], output: &mut [i8]) {
        let signals = input.chunks_exact(self.steps);
        for (signal, output) in signals.zip(output.chunks_exact_mut(self.windows)) {
            for (window, output) in output.iter_mut().enumerate() {
                let start = window * self.pool.stride;
                let values = &signal[start..start + self.pool.size];
                *output = values.iter().copied().fold(i8::MIN, i8::max);
            }
        }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        // Both were checked against the activation limit.
        bytes.extend((self.pool.size as u32).to_le_bytes());
        bytes.extend((self.pool.stride as u32).to_le_bytes());
    }
}

#[cfg(test)]
mod int8_tests {
    use super::*;

    #[test]
    fn int8_max_pool_takes_the_largest_of_each_window_per_channel() {
        let pool = MaxPool1d { size: 2, stride: 3 };
        let kernel = Int8MaxPool1d {
            steps: 6,
            windows: 2,
            pool,
        };
        let mut output = [0; 4];
        let input = [-5, -7, 100, 4, 3, 99, -128, -128, 0, 127, -128, 0];
        kernel.run(&input, &mut output);
        assert_eq!(output, [-5, 4, -128, 127]);
    }
}
