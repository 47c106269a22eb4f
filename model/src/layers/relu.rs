//! Rectified linear unit: `max(0, x)`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Layer, Pass, Scratch, Shapes};
use crate::LayerError;
use crate::bundle::{BundleError, Reader};
use crate::engine::burn::{Tensor, relu};
use crate::quant::QuantError;
use crate::quant::kernel::{Int8Tensor, Kernel, Lowered, Lowering, Step};

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
    fn lower_int8(&self, request: &Lowering<'_>) -> Result<Lowered, QuantError> {
        let zero = request.input.scale.zero_point();
        Ok(request.same_scale_step(Int8Relu { zero }))
    }

    fn read_int8(
        code: u8,
        input: &Int8Tensor,
        _reader: &mut Reader<'_>,
    ) -> Option<Result<Step, BundleError>> {
        let zero = input.scale.zero_point();
        (code == INT8_CODE).then(|| {
            Ok(Step {
                kernel: Arc::new(Int8Relu { zero }),
                output: input.clone(),
            })
        })
    }
}

/// Code of [`Int8Relu`] in a build.
const INT8_CODE: u8 = 3;

/// A ReLU that no layer before it absorbs: at least the zero point, same scale.
#[derive(Debug)]
struct Int8Relu {
    zero: i8,
}

impl Kernel for Int8Relu {
    fn code(&self) -> u8 {
        INT8_CODE
    }

    fn run(&self, input: &[i8], output: &mut [i8]) {
        for (output, &input) in output.iter_mut().zip(input) {
            *output = input.max(self.zero);
        }
    }

    fn write(&self, _bytes: &mut Vec<u8>) {}
}
