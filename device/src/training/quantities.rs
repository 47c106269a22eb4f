//! What a window asks: the quantities with their bins and sources, checked against the model.

use tributary_drift::{Binning, DriftError, Quantity, Role};
use tributary_model::{Graph, ModelError};
use tributary_proto::v1::QuantitySpec;

use crate::state::identity::IdentityError;

/// Most quantities that one request may ask for.
const MAX_QUANTITIES: usize = 256;

/// Why a device does not vote.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SummaryError {
    /// There is no example to choose.
    #[error("the device has no examples of the task; it does not vote")]
    NoExamples,
    /// The request asks for more than a device answers.
    #[error("the request asks for {count} quantities, a device answers at most {MAX_QUANTITIES}")]
    TooMany {
        /// Quantities asked for.
        count: usize,
    },
    /// The source is not one of the four kinds, or its index is outside of the model's input or layers.
    #[error(
        "source {name:?} is not prediction, confidence, feature:N or activation:N of the model"
    )]
    Source {
        /// The source asked for.
        name: String,
    },
    /// The bins are not those that the identity names.
    #[error("quantity {id:?} does not belong to its bins; restart the monitor")]
    Identity {
        /// The identity in the request.
        id: String,
    },
    /// The bins are not valid.
    #[error(transparent)]
    Bins(#[from] DriftError),
    /// The model can't run on the example.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// No randomness.
    #[error(transparent)]
    Randomness(#[from] IdentityError),
}

impl SummaryError {
    /// The word under which it is counted.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::NoExamples => "no_examples",
            Self::TooMany { .. } => "too_many",
            Self::Source { .. } => "unknown_source",
            Self::Identity { .. } => "wrong_identity",
            Self::Bins(_) => "bad_bins",
            Self::Model(_) => "model",
            Self::Randomness(_) => "randomness",
        }
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
