//! Any shape to one dimension.

use serde::{Deserialize, Serialize};

use super::Layer;
use crate::LayerError;
use crate::spec::{MAX_ACTIVATIONS, volume};

/// Any shape to `[product]`, row major (the values keep their order).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flatten;

impl Layer for Flatten {
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError> {
        let size = volume(input, MAX_ACTIVATIONS).ok_or(LayerError::TooLarge {
            what: "output",
            limit: MAX_ACTIVATIONS,
        })?;
        Ok(vec![size])
    }
}
