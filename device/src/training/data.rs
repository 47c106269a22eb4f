//! How the agent reads the examples that stay on the device.

use std::sync::Arc;

/// What examples are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// Training in a round.
    Training {
        /// The run.
        run_id: String,
        /// The round, from 1.
        round: u32,
    },
    /// A vote in a monitoring window.
    Summary {
        /// The window, from 1.
        window: u64,
    },
}

/// Examples held on the device. Cloning shares the memory.
#[derive(Debug, Clone)]
pub struct Examples {
    /// Inputs, row-major: examples x features.
    pub inputs: Arc<[f32]>,
    /// Class of each example.
    pub labels: Arc<[u32]>,
}

impl Examples {
    /// Number of examples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// Why the device has no examples to give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The device holds nothing of this task.
    #[error("task {task:?} has no data on this device; enrol with the tasks it holds")]
    UnknownTask {
        /// The task asked for.
        task: String,
    },
    /// The data can't be read now.
    #[error("data of task {task:?} can't be read: {problem}; check the sensor or its file")]
    Unreadable {
        /// The task asked for.
        task: String,
        /// What went wrong.
        problem: String,
    },
}

/// What a device declares of its data of a task, whatever they are at the moment. It must not depend on
/// them: a model that does not fit is refused by name, before the device looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DataForm {
    /// Values of an example; `None` when not declared. A model of another width then gives an answer
    /// without anything in it, under privacy, and a failed training without.
    pub features: Option<usize>,
    /// Number of classes; `None` when not declared.
    pub classes: Option<usize>,
}

/// Where a device's examples come from: a sensor's ring buffer, files, or a simulated shard.
pub trait LocalData: Send + Sync {
    /// What the device declares of its data of `task`. Called among the async tasks: it must not block.
    ///
    /// # Errors
    /// [`DataError::UnknownTask`] when the device holds no data of such a task at any time.
    fn form(&self, _task: &str) -> Result<DataForm, DataError> {
        Ok(DataForm::default())
    }

    /// The examples of `task` for `purpose`. Called on the work pool, so it may read files.
    fn examples(&self, task: &str, purpose: &Purpose) -> Result<Examples, DataError>;
}
