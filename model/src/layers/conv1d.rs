//! Convolution over time, without padding (cross-correlation, as in all deep-learning libraries).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Blend, Layer, LayerSpec, Parameter, Pass, Scratch, Shapes, at_least_one, channels_and_steps,
    matrix, windows,
};
use crate::LayerError;
use crate::bundle::{BundleError, Reader};
use crate::engine::burn::{ConvOptions, Tensor, conv1d};
use crate::layout::Role;
use crate::quant::ChannelWeights;
use crate::quant::QuantError;
use crate::quant::kernel::{Int8Tensor, Kernel, Lowered, Lowering, Step};
use crate::spec::{MAX_ACTIVATIONS, volume};

/// `[channels, steps]` to `[filters, (steps - kernel) / stride + 1]`;
/// weight `[filters, channels, kernel]`, bias `[filters]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv1d {
    /// Number of output channels, at least 1.
    pub filters: usize,
    /// Length of the window in steps, 1 to the steps of the input.
    pub kernel: usize,
    /// Steps from one window to the next, at least 1; 1 if not given.
    #[serde(default = "one")]
    pub stride: usize,
}

fn one() -> usize {
    1
}

/// The sizes that the passes need, from the shapes of one example.
struct Sizes {
    channels: usize,
    steps: usize,
    /// Output steps.
    windows: usize,
    /// Values under one window: channels x kernel.
    window: usize,
    input: usize,
    output: usize,
}

impl Sizes {
    fn new(layer: &Conv1d, shapes: Shapes<'_>) -> Self {
        let (channels, steps, windows) = (shapes.input[0], shapes.input[1], shapes.output[1]);
        Self {
            channels,
            steps,
            windows,
            window: channels * layer.kernel,
            input: channels * steps,
            output: layer.filters * windows,
        }
    }
}

impl Conv1d {
    /// Lays the windows of one example side by side: row `channel x kernel + tap`, one column per
    /// output step, so that the convolution is one matrix product.
    fn columns<'s>(&self, size: &Sizes, input: &[f32], scratch: &'s mut Scratch) -> &'s [f32] {
        scratch.values.resize(size.window * size.windows, 0.0);
        let mut rows = scratch.values.chunks_exact_mut(size.windows);
        for channel in input.chunks_exact(size.steps) {
            for (tap, row) in (0..self.kernel).zip(&mut rows) {
                if self.stride == 1 {
                    row.copy_from_slice(&channel[tap..tap + size.windows]);
                } else {
                    let taps = channel[tap..].iter().step_by(self.stride);
                    row.iter_mut().zip(taps).for_each(|(to, &from)| *to = from);
                }
            }
        }
        &scratch.values
    }

    /// Adds each column back to the steps it was taken from.
    fn add_columns(&self, size: &Sizes, columns: &[f32], input_gradient: &mut [f32]) {
        let mut rows = columns.chunks_exact(size.windows);
        for channel in input_gradient.chunks_exact_mut(size.steps) {
            for (tap, row) in (0..self.kernel).zip(&mut rows) {
                let taps = channel[tap..].iter_mut().step_by(self.stride);
                row.iter().zip(taps).for_each(|(&from, to)| *to += from);
            }
        }
    }
}

impl Layer for Conv1d {
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError> {
        at_least_one("filters", self.filters)?;
        let (channels, steps) = channels_and_steps(input)?;
        let windows = windows("kernel", self.kernel, self.stride, steps)?;
        // the engine lays all windows of an example side by side
        if volume(&[channels, self.kernel, windows], MAX_ACTIVATIONS).is_none() {
            return Err(LayerError::TooLarge {
                what: "channels x kernel x output steps",
                limit: MAX_ACTIVATIONS,
            });
        }
        Ok(vec![self.filters, windows])
    }

    fn parameters(&self, input: &[usize]) -> Vec<Parameter> {
        vec![
            Parameter {
                name: "weight",
                shape: vec![self.filters, input[0], self.kernel],
                role: Role::Weight,
                output_axis: 0,
            },
            Parameter {
                name: "bias",
                shape: vec![self.filters],
                role: Role::Bias,
                output_axis: 0,
            },
        ]
    }

    fn macs(&self, input: &[usize]) -> u64 {
        let windows = (input[1] - self.kernel) / self.stride + 1;
        [self.filters, input[0], self.kernel, windows]
            .iter()
            .fold(1, |product: u64, &size| product.saturating_mul(size as u64))
    }

    fn forward(
        &self,
        shapes: Shapes<'_>,
        parameters: &[f32],
        input: &[f32],
        output: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let size = Sizes::new(self, shapes);
        let (weight, bias) = parameters.split_at(self.filters * size.window);
        let weight = matrix::view(weight, self.filters, size.window);
        let examples = input
            .chunks_exact(size.input)
            .zip(output.chunks_exact_mut(size.output));
        for (input, output) in examples {
            for (row, &bias) in output.chunks_exact_mut(size.windows).zip(bias) {
                row.fill(bias);
            }
            let columns = self.columns(&size, input, scratch);
            let columns = matrix::view(columns, size.window, size.windows);
            matrix::multiply(weight, columns, Blend::ADD, output);
        }
    }

    fn backward_input(
        &self,
        shapes: Shapes<'_>,
        parameters: &[f32],
        pass: Pass<'_>,
        input_gradient: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let size = Sizes::new(self, shapes);
        let weight = &parameters[..self.filters * size.window];
        let weight = matrix::view(weight, self.filters, size.window).reversed_axes();
        scratch.values.resize(size.window * size.windows, 0.0);
        input_gradient.fill(0.0);
        let examples = pass.output_gradient.chunks_exact(size.output);
        for (output_gradient, input_gradient) in
            examples.zip(input_gradient.chunks_exact_mut(size.input))
        {
            let output_gradient = matrix::view(output_gradient, self.filters, size.windows);
            matrix::multiply(weight, output_gradient, Blend::REPLACE, &mut scratch.values);
            self.add_columns(&size, &scratch.values, input_gradient);
        }
    }

    fn backward_parameters(
        &self,
        shapes: Shapes<'_>,
        pass: Pass<'_>,
        blend: Blend,
        target: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let size = Sizes::new(self, shapes);
        let (weight, bias) = target.split_at_mut(self.filters * size.window);
        let mut blend = blend;
        let gradients = pass.output_gradient.chunks_exact(size.output);
        for (input, output_gradient) in pass.input.chunks_exact(size.input).zip(gradients) {
            let columns = self.columns(&size, input, scratch);
            let columns = matrix::view(columns, size.window, size.windows).reversed_axes();
            for (target, row) in bias
                .iter_mut()
                .zip(output_gradient.chunks_exact(size.windows))
            {
                blend.apply(target, row.iter().sum());
            }
            let output_gradient = matrix::view(output_gradient, self.filters, size.windows);
            matrix::multiply(output_gradient, columns, blend, weight);
            blend.keep = 1.0;
        }
    }

    fn lower(&self, shapes: Shapes<'_>, parameters: &[Tensor<1>], input: Tensor<2>) -> Tensor<2> {
        let size = Sizes::new(self, shapes);
        let input = input.reshape([shapes.batch, size.channels, size.steps]);
        let weight = parameters[0]
            .clone()
            .reshape([self.filters, size.channels, self.kernel]);
        let options = ConvOptions::new([self.stride], [0], [1], 1);
        let output = conv1d(input, weight, Some(parameters[1].clone()), options);
        output.reshape([shapes.batch, size.output])
    }
    fn with_channels(&self, channels: usize) -> Option<LayerSpec> {
        Some(
            Self {
                filters: channels,
                ..*self
            }
            .into(),
        )
    }

    fn absorbs_relu(&self) -> bool {
        true
    }

    fn lower_int8(&self, request: &Lowering<'_>) -> Result<Lowered, QuantError> {
        let kernel = Int8Conv1d {
            steps: request.input.shape[1],
            kernel: self.kernel,
            // A longer stride makes one window as well, and this one fits the build's field.
            stride: self.stride.min(request.input.shape[1]),
            channels: ChannelWeights::lower(request, "conv1d")?,
        };
        Ok(Lowered::Step(kernel.into_step()))
    }

    fn read_int8(
        code: u8,
        input: &Int8Tensor,
        reader: &mut Reader<'_>,
    ) -> Option<Result<Step, BundleError>> {
        (code == INT8_CODE).then(|| Int8Conv1d::read(input, reader).map(Int8Conv1d::into_step))
    }
}

/// Code of [`Int8Conv1d`] in a build.
const INT8_CODE: u8 = 2;

/// The layer on integers: per filter and window a dot product over all input channels.
#[derive(Debug)]
struct Int8Conv1d {
    /// Steps of the input.
    steps: usize,
    kernel: usize,
    stride: usize,
    /// Rows `[input channels, kernel]`.
    channels: ChannelWeights,
}

impl Int8Conv1d {
    fn read(input: &Int8Tensor, reader: &mut Reader<'_>) -> Result<Self, BundleError> {
        let out_of_range = |what| BundleError::Field { what };
        let (channels, steps) =
            channels_and_steps(&input.shape).map_err(|_| out_of_range("conv1d input"))?;
        let kernel = reader.dimension("kernel")?;
        let stride = reader.dimension("stride")?;
        let windows =
            windows("kernel", kernel, stride, steps).map_err(|_| out_of_range("kernel"))?;
        let channels = ChannelWeights::read(reader, input, channels.saturating_mul(kernel))?;
        volume(&[channels.channels(), windows], MAX_ACTIVATIONS).ok_or(out_of_range("filters"))?;
        Ok(Self {
            steps,
            kernel,
            stride,
            channels,
        })
    }

    fn windows(&self) -> usize {
        (self.steps - self.kernel) / self.stride + 1
    }

    fn into_step(self) -> Step {
        let output = Int8Tensor {
            shape: vec![self.channels.channels(), self.windows()],
            scale: self.channels.output_scale(),
        };
        Step {
            kernel: Arc::new(self),
            output,
        }
    }

    /// The sum of products of one filter with the window that begins at step `start`.
    fn window_sum(&self, filter: usize, input: &[i8], start: usize) -> i32 {
        let rows = self.channels.row(filter).chunks_exact(self.kernel);
        let signals = input.chunks_exact(self.steps);
        rows.zip(signals)
            .map(|(row, signal)| self.channels.dot(row, &signal[start..start + self.kernel]))
            .sum()
    }
}

impl Kernel for Int8Conv1d {
    fn code(&self) -> u8 {
        INT8_CODE
    }

    fn run(&self, input: &[i8], output: &mut [i8]) {
        for (filter, output) in output.chunks_exact_mut(self.windows()).enumerate() {
            for (window, output) in output.iter_mut().enumerate() {
                let products = self.window_sum(filter, input, window * self.stride);
                let sum = self.channels.bias(filter) + products;
                *output = self.channels.requantise(filter, sum);
            }
        }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        // Both were checked against the activation limit.
        bytes.extend((self.kernel as u32).to_le_bytes());
        bytes.extend((self.stride as u32).to_le_bytes());
        self.channels.write(bytes);
    }
}

#[cfg(test)]
mod int8_tests {
    use super::*;
    use crate::quant::scale::ActivationScale;

    #[test]
    fn int8_convolution_sums_the_window_of_every_channel() {
        // Two channels of five steps, stride 2; weight scale 0.01, input scale 1, factor 0.01.
        let layer = Conv1d {
            filters: 1,
            kernel: 3,
            stride: 2,
        };
        let parameters = layer.parameters(&[2, 5]);
        let entry = crate::ParamEntry {
            path: String::new(),
            shape: parameters[0].shape.clone(),
            role: Role::Weight,
            output_axis: parameters[0].output_axis,
            personal: false,
            offset: 0,
            len: 6,
        };
        let request = Lowering {
            index: 0,
            input: &Int8Tensor {
                shape: vec![2, 5],
                scale: ActivationScale::from_parts(1.0, 3).unwrap(),
            },
            output_shape: &[1, 2],
            output_scale: ActivationScale::from_parts(1.0, -1).unwrap(),
            relu: false,
            parameters: vec![(&entry, &[0.01, 0.02, 0.03, 1.27, 0.0, -1.27])],
        };
        let Lowered::Step(step) = layer.lower_int8(&request).unwrap() else {
            panic!("a convolution must be a step");
        };
        let mut output = [0; 2];
        // Above the zero point 3: (10, 20, 30, 40, 50) and (1, 2, 3, 4, 100).
        let input = [13, 23, 33, 43, 53, 4, 5, 6, 7, 103];
        step.kernel.run(&input, &mut output);
        // Window 0: 10 + 40 + 90 + 127 - 381 = -114, times 0.01, less 1: -2.14.
        // Window 1: 30 + 80 + 150 + 381 - 12700 = -12059, times 0.01, less 1: -121.59.
        assert_eq!(output, [-2, -122]);
    }
}
