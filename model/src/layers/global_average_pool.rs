//! Mean over time.

use serde::{Deserialize, Serialize};

use super::{Layer, channels_and_steps};
use crate::LayerError;

/// `[channels, steps]` to `[channels]`: the mean of each channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalAveragePool;

impl Layer for GlobalAveragePool {
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, LayerError> {
        let (channels, _) = channels_and_steps(input)?;
        Ok(vec![channels])
    }
}
