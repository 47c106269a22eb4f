//! The data of one simulated device.

use std::sync::Arc;

use tributary_device::{DataError, DataForm, Examples, LocalData, Purpose};
use tributary_proto::RegionId;

use crate::drift::DriftSwitch;

/// Examples of one device. Cloning shares the memory.
#[derive(Debug, Clone)]
pub struct Shard {
    /// Inputs, row-major: examples x features.
    pub inputs: Arc<[f32]>,
    /// Class of each example.
    pub labels: Arc<[u32]>,
}

impl Shard {
    /// A shard from vectors; `inputs` holds examples x features values.
    pub fn new(inputs: Vec<f32>, labels: Vec<u32>) -> Self {
        Self {
            inputs: inputs.into(),
            labels: labels.into(),
        }
    }

    /// Values of an example; `None` without examples.
    pub fn features(&self) -> Option<usize> {
        self.inputs.len().checked_div(self.labels.len())
    }

    fn examples(&self) -> Examples {
        Examples {
            inputs: Arc::clone(&self.inputs),
            labels: Arc::clone(&self.labels),
        }
    }
}

/// Gives the usual shard, or the shifted one once the region's drift has begun.
pub(crate) struct ShardData {
    pub(crate) tasks: Vec<String>,
    /// Values of an example, as the device declares them.
    pub(crate) features: Option<usize>,
    pub(crate) region: RegionId,
    pub(crate) usual: Shard,
    pub(crate) shifted: Option<Shard>,
    pub(crate) switch: Arc<DriftSwitch>,
}

impl LocalData for ShardData {
    fn form(&self, task: &str) -> Result<DataForm, DataError> {
        if !self.tasks.iter().any(|held| held == task) {
            return Err(DataError::UnknownTask {
                task: task.to_owned(),
            });
        }
        Ok(DataForm {
            features: self.features,
            classes: None,
        })
    }

    fn examples(&self, task: &str, purpose: &Purpose) -> Result<Examples, DataError> {
        self.form(task)?;
        let has_shifted = self.switch.is_shifted(&self.region, purpose);
        match &self.shifted {
            Some(shifted) if has_shifted => Ok(shifted.examples()),
            _ => Ok(self.usual.examples()),
        }
    }
}
