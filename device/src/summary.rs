//! Summaries: one example, chosen uniformly, casts one vote per monitored quantity.

use std::sync::Arc;

use tributary_drift::{Binning, DriftError, Quantity, Role};
use tributary_model::{Engine, ModelError};
use tributary_proto::v1::{QuantitySpec, SummaryRequest, Vote};

use crate::compute::Workbench;
use crate::data::Examples;
use crate::identity::IdentityError;
use crate::library::LoadedModel;
use crate::randomness::{Purposes, seeded_or_os, uniform_below};

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
    /// The source is not one of the four kinds, or its index is outside of the model.
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
enum Source {
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

fn source(name: &str) -> Result<Source, SummaryError> {
    let unknown = || SummaryError::Source {
        name: name.chars().take(80).collect(),
    };
    match name.split_once(':') {
        None if name == "prediction" => Ok(Source::Prediction),
        None if name == "confidence" => Ok(Source::Confidence),
        Some(("feature", index)) => index.parse().map(Source::Feature).map_err(|_| unknown()),
        Some(("activation", index)) => index.parse().map(Source::Activation).map_err(|_| unknown()),
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

/// Everything that one vote needs, owned.
pub(crate) struct SummaryJob {
    pub(crate) device_id: String,
    pub(crate) request: SummaryRequest,
    pub(crate) model: Arc<LoadedModel>,
    pub(crate) examples: Examples,
}

impl SummaryJob {
    /// One vote per quantity, in the order of the request.
    pub(crate) fn run(self, bench: &mut Workbench) -> Result<Vec<Vote>, SummaryError> {
        let request = &self.request;
        if request.quantities.len() > MAX_QUANTITIES {
            return Err(SummaryError::TooMany {
                count: request.quantities.len(),
            });
        }
        let index = self.choose()?;
        let features = self.examples.inputs.len() / self.examples.len();
        let input = &self.examples.inputs[index * features..(index + 1) * features];
        let parts = bench.engine(&self.model);
        parts
            .engine
            .predict(&self.model.weights, input, parts.outputs)?;
        let mut magnitudes = vec![0.0; self.model.graph.shapes().len()];
        parts
            .engine
            .visit_activations(&self.model.weights, input, &mut |index, values| {
                magnitudes[index] = largest_magnitude(values);
            })?;
        let observation = Observation {
            input,
            probabilities: parts.outputs,
            magnitudes,
        };
        request
            .quantities
            .iter()
            .map(|spec| observation.vote(spec))
            .collect()
    }

    /// Chooses an example uniformly.
    fn choose(&self) -> Result<usize, SummaryError> {
        if self.examples.is_empty() {
            return Err(SummaryError::NoExamples);
        }
        let mut rng = seeded_or_os(
            &self.request.simulation_seed,
            &self.request.monitor_id,
            self.request.window,
            &self.device_id,
            Purposes::Summary,
        )?;
        Ok(uniform_below(&mut rng, self.examples.len() as u64) as usize)
    }
}

/// What was seen of one example.
struct Observation<'a> {
    input: &'a [f32],
    probabilities: &'a [f32],
    magnitudes: Vec<f32>,
}

impl Observation<'_> {
    fn vote(&self, spec: &QuantitySpec) -> Result<Vote, SummaryError> {
        let value = self.value(source(&spec.source)?, &spec.source)?;
        let bin = quantity(spec)?.bin_of(value) as u32;
        Ok(Vote {
            quantity_id: spec.quantity_id.clone(),
            bin,
        })
    }

    fn value(&self, source: Source, name: &str) -> Result<f64, SummaryError> {
        let outside = || SummaryError::Source {
            name: name.to_owned(),
        };
        match source {
            Source::Prediction => Ok(argmax(self.probabilities) as f64),
            Source::Confidence => Ok(f64::from(
                self.probabilities.iter().copied().fold(f32::NAN, f32::max),
            )),
            Source::Feature(index) => self
                .input
                .get(index)
                .map(|value| f64::from(*value))
                .ok_or_else(outside),
            Source::Activation(index) => {
                let magnitude = self.magnitudes.get(index).ok_or_else(outside)?;
                Ok(f64::from(*magnitude).log2())
            }
        }
    }
}

/// Largest absolute value; NaN when any value is.
fn largest_magnitude(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest, value| {
        if value.is_nan() {
            f32::NAN
        } else if largest < value.abs() {
            value.abs()
        } else {
            largest
        }
    })
}

/// Index of the first largest value.
fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
