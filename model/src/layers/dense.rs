//! Fully connected layer: `y = x W + b`.

use serde::{Deserialize, Serialize};

use super::{Layer, Parameter, at_least_one};
use crate::LayerError;
use crate::layout::Role;

/// Fully connected: `[in]` to `[units]`; weight `[in, units]`, bias `[units]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dense {
    /// Number of outputs, at least 1.
    pub units: usize,
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
}
