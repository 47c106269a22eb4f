//! Convolution over time, without padding (cross-correlation, as in all deep-learning libraries).

use serde::{Deserialize, Serialize};

use super::{Layer, Parameter, at_least_one, channels_and_steps, windows};
use crate::LayerError;
use crate::layout::Role;
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
}
