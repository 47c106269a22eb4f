//! Fully connected layer: `y = x W + b`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Blend, Layer, LayerSpec, Parameter, Pass, Scratch, Shapes, at_least_one, matrix};
use crate::LayerError;
use crate::bundle::{BundleError, Reader};
use crate::engine::burn::Tensor;
use crate::layout::Role;
use crate::quant::ChannelWeights;
use crate::quant::QuantError;
use crate::quant::kernel::{Int8Tensor, Kernel, Lowered, Lowering, Step};

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
    fn with_channels(&self, channels: usize) -> Option<LayerSpec> {
        Some(Self { units: channels }.into())
    }

    fn absorbs_relu(&self) -> bool {
        true
    }

    fn lower_int8(&self, request: &Lowering<'_>) -> Result<Lowered, QuantError> {
        let channels = ChannelWeights::lower(request, "dense")?;
        Ok(Lowered::Step(Int8Dense { channels }.into_step()))
    }

    fn read_int8(
        code: u8,
        input: &Int8Tensor,
        reader: &mut Reader<'_>,
    ) -> Option<Result<Step, BundleError>> {
        (code == INT8_CODE).then(|| {
            let channels = ChannelWeights::read(reader, input, input.len())?;
            Ok(Int8Dense { channels }.into_step())
        })
    }
}

/// Code of [`Int8Dense`] in a build.
const INT8_CODE: u8 = 1;

/// The layer on integers: one dot product per unit over the whole input.
#[derive(Debug)]
struct Int8Dense {
    channels: ChannelWeights,
}

impl Int8Dense {
    fn into_step(self) -> Step {
        let output = Int8Tensor {
            shape: vec![self.channels.channels()],
            scale: self.channels.output_scale(),
        };
        Step {
            kernel: Arc::new(self),
            output,
        }
    }
}

impl Kernel for Int8Dense {
    fn code(&self) -> u8 {
        INT8_CODE
    }

    fn run(&self, input: &[i8], output: &mut [i8]) {
        for (unit, output) in output.iter_mut().enumerate() {
            let products = self.channels.dot(self.channels.row(unit), input);
            let sum = self.channels.bias(unit) + products;
            *output = self.channels.requantise(unit, sum);
        }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        self.channels.write(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::scale::ActivationScale;

    #[test]
    fn int8_dense_matches_a_hand_worked_example() {
        // Two inputs at scale 0.1 with zero point -128; outputs at scale 0.5 with zero point 0.
        // Unit 0: w = (1.27, -0.64), b = 1.0; its weight scale is 0.01, so w = (127, -64),
        // b = 1.0 / (0.1 * 0.01) = 1000 and the factor is 0.1 * 0.01 / 0.5 = 0.002.
        // Inputs (2.0, 1.0) are (20, 10) above the zero point:
        // 1000 + 20 * 127 - 10 * 64 = 2900, times 0.002 = 5.8, so 6 (real: 2.9 of 3.0).
        // Unit 1: w = (-1.27, 0), b = 0: -2540 * 0.002 = -5.08, so -5, or 0 after ReLU.
        let weights = [1.27, -1.27, -0.64, 0.0];
        let bias = [1.0, 0.0];
        for (relu, expected) in [(false, [6, -5]), (true, [6, 0])] {
            let graph = crate::ModelSpec {
                name: "one layer".to_owned(),
                input: vec![2],
                layers: vec![Dense { units: 2 }.into()],
            };
            let graph = graph.graph().unwrap();
            let entries = &graph.layout().entries;
            let request = Lowering {
                index: 0,
                input: &Int8Tensor {
                    shape: vec![2],
                    scale: ActivationScale::from_parts(0.1, -128).unwrap(),
                },
                output_shape: &[2],
                output_scale: ActivationScale::from_parts(0.5, 0).unwrap(),
                relu,
                parameters: vec![(&entries[0], &weights), (&entries[1], &bias)],
            };
            let lowered = Dense { units: 2 }.lower_int8(&request).unwrap();
            let Lowered::Step(step) = lowered else {
                panic!("dense must be a step");
            };
            let mut output = [0; 2];
            step.kernel.run(&[-108, -118], &mut output);
            assert_eq!(output, expected);
        }
    }
}
