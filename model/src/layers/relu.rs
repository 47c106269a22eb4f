//! Rectified linear unit: `max(0, x)`.

use serde::{Deserialize, Serialize};

use super::Layer;
use crate::LayerError;

/// `max(0, x)`, any shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relu;

impl Layer for Relu {
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError> {
        Ok(input.to_vec())
    }
}
