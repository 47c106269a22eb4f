//! Largest value per window of time.

use serde::{Deserialize, Serialize};

use super::{Layer, channels_and_steps, windows};
use crate::LayerError;

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
}
