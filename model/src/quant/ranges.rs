//! The ranges that activations take, from which their scales follow.

use serde::{Deserialize, Serialize};

use super::QuantError;
use super::scale::ActivationScale;
use crate::layers::{Scratch, Shapes};
use crate::{Graph, ModelError};

/// Examples passed through the model at a time.
const CHUNK: usize = 64;

/// Smallest and largest value of each tensor: index 0 is the input, `i + 1` the output of layer
/// `i`.
///
/// Ranges may be observed on data ([`observe_ranges`]) or put together from summaries that devices
/// sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(f32, f32)>", into = "Vec<(f32, f32)>")]
pub struct ActivationRanges {
    ranges: Vec<(f32, f32)>,
}

impl ActivationRanges {
    /// Checked ranges, `(minimum, maximum)` each.
    ///
    /// # Errors
    /// [`QuantError::Range`] if a range is not finite, not in order, or so narrow or wide that its
    /// scale is no normal number.
    pub fn new(ranges: Vec<(f32, f32)>) -> Result<Self, QuantError> {
        let unusable = |&(minimum, maximum): &(f32, f32)| {
            ActivationScale::from_range(minimum, maximum).is_none()
        };
        match ranges.iter().position(unusable) {
            Some(index) => {
                let (minimum, maximum) = ranges[index];
                Err(QuantError::Range {
                    index,
                    minimum,
                    maximum,
                })
            }
            None => Ok(Self { ranges }),
        }
    }

    /// The ranges, `(minimum, maximum)` each.
    pub fn ranges(&self) -> &[(f32, f32)] {
        &self.ranges
    }

    /// The scale of tensor `index`; `None` beyond the last.
    pub fn scale(&self, index: usize) -> Option<ActivationScale> {
        let &(minimum, maximum) = self.ranges.get(index)?;
        ActivationScale::from_range(minimum, maximum)
    }

    /// The smallest ranges that cover both `self` and `other`; `None` if they are of different
    /// models.
    pub fn union(&self, other: &Self) -> Option<Self> {
        if self.ranges.len() != other.ranges.len() {
            return None;
        }
        let pairs = self.ranges.iter().zip(&other.ranges);
        let ranges = pairs.map(|(a, b)| (a.0.min(b.0), a.1.max(b.1))).collect();
        Some(Self { ranges })
    }
}

impl TryFrom<Vec<(f32, f32)>> for ActivationRanges {
    type Error = QuantError;

    fn try_from(ranges: Vec<(f32, f32)>) -> Result<Self, Self::Error> {
        Self::new(ranges)
    }
}

impl From<ActivationRanges> for Vec<(f32, f32)> {
    fn from(ranges: ActivationRanges) -> Self {
        ranges.ranges
    }
}

/// Runs examples (row after row) through the float model and notes the range of every tensor.
///
/// # Errors
/// If lengths disagree with the graph, there is no example, or an activation is not finite.
pub fn observe_ranges(
    graph: &Graph,
    params: &[f32],
    inputs: &[f32],
) -> Result<ActivationRanges, ModelError> {
    check_length("params", graph.layout().len(), params.len())?;
    let features = graph.features();
    if inputs.is_empty() {
        return Err(ModelError::EmptyBatch);
    }
    check_length(
        "inputs",
        inputs.len().div_ceil(features) * features,
        inputs.len(),
    )?;

    let mut observed = Observer::new(graph.shapes().len());
    let mut scratch = vec![Scratch::default(); graph.layers().len()];
    for chunk in inputs.chunks(CHUNK * features) {
        let batch = chunk.len() / features;
        let mut current = chunk.to_vec();
        observed.note(0, &current)?;
        for (index, layer) in graph.layers().iter().enumerate() {
            let (input, output) = (&graph.shapes()[index], &graph.shapes()[index + 1]);
            let mut next = vec![0.0; batch * output.iter().product::<usize>()];
            let parameters = &params[graph.layer_parameters(index)];
            let shapes = Shapes {
                batch,
                input,
                output,
            };
            layer
                .layer()
                .forward(shapes, parameters, &current, &mut next, &mut scratch[index]);
            observed.note(index + 1, &next)?;
            current = next;
        }
    }
    Ok(ActivationRanges::new(observed.ranges)?)
}

fn check_length(what: &'static str, expected: usize, actual: usize) -> Result<(), ModelError> {
    if expected == actual {
        Ok(())
    } else {
        Err(ModelError::WrongLength {
            what,
            expected,
            actual,
        })
    }
}

/// Ranges seen so far, starting at zero: every range has to hold zero anyway.
struct Observer {
    ranges: Vec<(f32, f32)>,
}

impl Observer {
    fn new(tensors: usize) -> Self {
        Self {
            ranges: vec![(0.0, 0.0); tensors],
        }
    }

    fn note(&mut self, tensor: usize, values: &[f32]) -> Result<(), ModelError> {
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(ModelError::NotFinite {
                what: "activation",
                index,
            });
        }
        let (minimum, maximum) = &mut self.ranges[tensor];
        for &value in values {
            *minimum = minimum.min(value);
            *maximum = maximum.max(value);
        }
        Ok(())
    }
}
