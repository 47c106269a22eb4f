//! Mean over time.

use serde::{Deserialize, Serialize};

use super::{Layer, Pass, Scratch, Shapes, channels_and_steps};
use crate::LayerError;
use crate::engine::burn::Tensor;

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
}
