//! Summaries: one example, chosen uniformly, casts one vote per monitored quantity.

use std::sync::Arc;

use tributary_drift::Quantity;
use tributary_model::Engine;
use tributary_proto::v1::{SummaryRequest, Vote};

use crate::install::library::LoadedModel;
use crate::state::randomness::{Purposes, seeded_or_os, uniform_below};
use crate::training::compute::Scratch;
use crate::training::data::Examples;
use crate::training::quantities::{Source, SummaryError};
use crate::training::subnormal::flush_subnormals;

/// A vote that is counted and adds to no bin.
const BLANK: u32 = u32::MAX;

/// Everything that one vote needs, owned.
pub(crate) struct SummaryJob {
    pub(crate) device_id: String,
    pub(crate) request: SummaryRequest,
    /// What is asked, in the order of the request, checked against the model.
    pub(crate) asked: Vec<(Quantity, Source)>,
    pub(crate) model: Arc<LoadedModel>,
}

/// A vote for a bin; `None` is a blank one, which tells that there was nothing to look at to nobody.
fn vote(quantity: &Quantity, bin: Option<usize>) -> Vote {
    Vote {
        quantity_id: quantity.id().to_string(),
        bin: 0,
        // bins are far fewer than 2^32
        ballot: bin.map_or(BLANK, |bin| bin as u32 + 1),
    }
}

impl SummaryJob {
    /// A blank vote per quantity, as long as any other.
    pub(crate) fn blank(&self) -> Vec<Vote> {
        let asked = self.asked.iter();
        asked.map(|(quantity, _)| vote(quantity, None)).collect()
    }

    /// One vote per quantity, in the order of the request.
    pub(crate) fn run(
        &self,
        examples: &Examples,
        bench: &mut Scratch,
    ) -> Result<Vec<Vote>, SummaryError> {
        let index = self.choose(examples)?;
        let features = examples.inputs.len() / examples.len();
        let mut input = examples.inputs[index * features..(index + 1) * features].to_vec();
        flush_subnormals(&mut input);
        let parts = bench.engine(&self.model);
        parts
            .engine
            .predict(&self.model.weights, &input, parts.outputs)?;
        let mut magnitudes = vec![0.0; self.model.graph.shapes().len()];
        parts
            .engine
            .visit_activations(&self.model.weights, &input, &mut |index, values| {
                magnitudes[index] = largest_magnitude(values);
            })?;
        let observation = Observation {
            input: &input,
            probabilities: parts.outputs,
            magnitudes,
        };
        let asked = self.asked.iter();
        Ok(asked
            .map(|(quantity, source)| {
                let bin = quantity.bin_of(observation.value(*source));
                vote(quantity, Some(bin))
            })
            .collect())
    }

    /// Chooses an example uniformly.
    fn choose(&self, examples: &Examples) -> Result<usize, SummaryError> {
        if examples.is_empty() {
            return Err(SummaryError::NoExamples);
        }
        let mut rng = seeded_or_os(
            &self.request.simulation_seed,
            &self.request.monitor_id,
            self.request.window,
            &self.device_id,
            Purposes::Summary,
        )?;
        Ok(uniform_below(&mut rng, examples.len() as u64) as usize)
    }
}

/// What was seen of one example.
struct Observation<'a> {
    input: &'a [f32],
    probabilities: &'a [f32],
    magnitudes: Vec<f32>,
}

impl Observation<'_> {
    /// The value, which is NaN where there is none: its bin is the one for missing values.
    fn value(&self, source: Source) -> f64 {
        match source {
            Source::Prediction => argmax(self.probabilities) as f64,
            Source::Confidence => {
                let probabilities = self.probabilities.iter().copied();
                f64::from(probabilities.fold(f32::NAN, f32::max))
            }
            Source::Feature(index) => {
                let value = self.input.get(index);
                value.map_or(f64::NAN, |value| f64::from(*value))
            }
            Source::Activation(index) => {
                let magnitude = self.magnitudes.get(index);
                magnitude.map_or(f64::NAN, |magnitude| f64::from(*magnitude).log2())
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
