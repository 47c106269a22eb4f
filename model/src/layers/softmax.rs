//! Scores to probabilities.

use serde::{Deserialize, Serialize};

use super::Layer;
use crate::LayerError;

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
}
