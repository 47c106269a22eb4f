//! Whether a device is made for what it is asked, from what it declares of itself alone.
//!
//! All of it is checked before the device looks at its data, and refused by name: afterwards, under privacy,
//! a failure is answered like a success.

use tributary_drift::{Binning, Quantity, Role};
use tributary_model::Graph;
use tributary_proto::v1::QuantitySpec;

use crate::data::{DataError, DataForm};
use crate::summary::{MAX_QUANTITIES, SummaryError};

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

/// What a vote is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Class of largest probability.
    Prediction,
    /// Largest probability.
    Confidence,
    /// Value `N` of the input.
    Feature(usize),
    /// Base-2 logarithm of the largest absolute activation: 0 is the input, i + 1 the output of
    /// layer i.
    Activation(usize),
}

fn source(name: &str, graph: &Graph) -> Result<Source, SummaryError> {
    let unknown = || SummaryError::Source {
        name: name.chars().take(80).collect(),
    };
    let below = |index: &str, limit: usize| {
        let index = index.parse().ok().filter(|index: &usize| *index < limit);
        index.ok_or_else(unknown)
    };
    match name.split_once(':') {
        None if name == "prediction" => Ok(Source::Prediction),
        None if name == "confidence" => Ok(Source::Confidence),
        Some(("feature", index)) => below(index, graph.features()).map(Source::Feature),
        Some(("activation", index)) => below(index, graph.shapes().len()).map(Source::Activation),
        _ => Err(unknown()),
    }
}

/// The quantity with its bins, checked against the identity in the request.
fn quantity(spec: &QuantitySpec) -> Result<Quantity, SummaryError> {
    let wrong = || SummaryError::Identity {
        id: spec.quantity_id.chars().take(200).collect(),
    };
    let (name, _) = spec.quantity_id.rsplit_once('@').ok_or_else(wrong)?;
    let binning = if spec.edges.is_empty() {
        Binning::Classes((spec.bins as usize).saturating_sub(1))
    } else {
        Binning::Edges(spec.edges.clone())
    };
    let quantity = Quantity::new(name, Role::default(), binning)?;
    let same = quantity.id().as_str() == spec.quantity_id && quantity.bins() == spec.bins as usize;
    if same { Ok(quantity) } else { Err(wrong()) }
}

/// What a request asks of a model, in its order.
pub(crate) fn check_quantities(
    specs: &[QuantitySpec],
    graph: &Graph,
) -> Result<Vec<(Quantity, Source)>, SummaryError> {
    if specs.len() > MAX_QUANTITIES {
        return Err(SummaryError::TooMany { count: specs.len() });
    }
    let read = |spec: &QuantitySpec| Ok((quantity(spec)?, source(&spec.source, graph)?));
    specs.iter().map(read).collect()
}
