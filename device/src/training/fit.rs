//! Whether a device is made for what it is asked, from what it declares of itself alone.
//!
//! All of it is checked before the device looks at its data, and refused by name: afterwards, under privacy,
//! a failure is answered like a success.

use tributary_model::Graph;

use crate::training::data::{DataError, DataForm};

/// Why a device is not made for a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misfit {
    /// The task is not the device's.
    #[error(transparent)]
    Task(#[from] DataError),
    /// Other inputs.
    #[error(
        "model input takes {model} values, this device's data of the task have {data}; start the run \
         with input = [{data}], or with the task that the model is for"
    )]
    Features {
        /// Values that the model takes.
        model: usize,
        /// Values of an example.
        data: usize,
    },
    /// Fewer classes than the device's labels.
    #[error(
        "model has {model} classes, this device's data of the task have {data}; end its layers with \
         {data} units, or name the task that the model is for"
    )]
    Classes {
        /// Classes of the model.
        model: usize,
        /// Classes of the task.
        data: usize,
    },
}

impl Misfit {
    /// The word under which it is counted.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Task(_) => "unknown_task",
            Self::Features { .. } => "input_width",
            Self::Classes { .. } => "classes",
        }
    }
}

/// Checks a model against the declared form of a task's data.
pub(crate) fn check_model(graph: &Graph, form: DataForm) -> Result<(), Misfit> {
    let (model, classes) = (graph.features(), graph.classes());
    if let Some(data) = form.features.filter(|data| *data != model) {
        return Err(Misfit::Features { model, data });
    }
    match form.classes.filter(|data| *data > classes) {
        Some(data) => Err(Misfit::Classes {
            model: classes,
            data,
        }),
        None => Ok(()),
    }
}
