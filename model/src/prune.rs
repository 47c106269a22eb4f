//! Structured pruning: narrower layers, chosen from the weights alone.
//!
//! Whole dense units and convolution filters are removed, so the result is an ordinary smaller model
//! that any engine runs and the quantiser takes. No data is looked at: under differential privacy,
//! pruning a released model is post-processing and costs no budget.

use crate::layout::Role;
use crate::{Graph, ModelError, ModelSpec};

/// Keeps the most salient share `keep` of every hidden layer's units or filters (rounded up, at
/// least one) and returns the narrower architecture with its parameters. Inputs and classes stay.
///
/// The saliency of a unit is the product of the Euclidean norms of its incoming and its outgoing
/// weights: a ReLU network computes the same when one is scaled up and the other down, and so does
/// this measure. The name of the model stays the same.
///
/// # Errors
/// If `keep` is not above 0 and at most 1, or `params` has the wrong length or is not finite.
pub fn prune_width(
    graph: &Graph,
    params: &[f32],
    keep: f32,
) -> Result<(ModelSpec, Vec<f32>), ModelError> {
    check(graph, params, keep)?;
    let mut spec = graph.spec().clone();
    let mut tensors: Vec<Tensor> = graph
        .layout()
        .entries
        .iter()
        .map(|entry| Tensor {
            shape: entry.shape.clone(),
            values: params[entry.range()].to_vec(),
        })
        .collect();

    let weights = weight_positions(graph);
    for pair in weights.windows(2) {
        let ((layer, weight), (_, next)) = (pair[0], pair[1]);
        let entries = &graph.layout().entries;
        let width = entries[weight].channels();
        let next_axis = input_axis(entries[next].output_axis);
        // Each channel may have become several inputs: flatten lays its steps side by side.
        let repeats = entries[next].shape[next_axis] / width;
        let kept = most_salient(
            &saliency(graph, params, weight, next, repeats),
            kept_width(width, keep),
        );
        let Some(narrow) = spec.layers[layer].layer().with_channels(kept.len()) else {
            continue;
        };
        spec.layers[layer] = narrow;
        for (position, entry) in entries.iter().enumerate() {
            if graph.layer_parameters(layer).contains(&entry.offset) {
                tensors[position] = tensors[position].select(entry.output_axis, &kept);
            }
        }
        let inputs: Vec<usize> = kept
            .iter()
            .flat_map(|unit| unit * repeats..(unit + 1) * repeats)
            .collect();
        tensors[next] = tensors[next].select(next_axis, &inputs);
    }
    Ok((
        spec,
        tensors
            .into_iter()
            .flat_map(|tensor| tensor.values)
            .collect(),
    ))
}

fn check(graph: &Graph, params: &[f32], keep: f32) -> Result<(), ModelError> {
    if !(keep > 0.0 && keep <= 1.0) {
        return Err(ModelError::PruneShare { keep });
    }
    let (expected, actual) = (graph.layout().len(), params.len());
    if expected != actual {
        return Err(ModelError::WrongLength {
            what: "params",
            expected,
            actual,
        });
    }
    match params.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(ModelError::NotFinite {
            what: "params",
            index,
        }),
        None => Ok(()),
    }
}

/// Layers with weights: their index and the position of the weight in the layout.
fn weight_positions(graph: &Graph) -> Vec<(usize, usize)> {
    let entries = &graph.layout().entries;
    let weights = (0..entries.len()).filter(|&position| entries[position].role == Role::Weight);
    weights
        .filter_map(|position| {
            let offset = entries[position].offset;
            let layer = (0..graph.layers().len())
                .find(|&layer| graph.layer_parameters(layer).contains(&offset))?;
            Some((layer, position))
        })
        .collect()
}

/// The dimension of a weight that counts input channels: the first that does not count outputs.
fn input_axis(output_axis: usize) -> usize {
    usize::from(output_axis == 0)
}

fn kept_width(width: usize, keep: f32) -> usize {
    let share = (f64::from(keep) * width as f64).ceil();
    // 1..=width: keep is in 0..=1.
    (share as usize).clamp(1, width)
}

/// Product of squared norms of incoming and outgoing weights per unit.
fn saliency(graph: &Graph, params: &[f32], weight: usize, next: usize, repeats: usize) -> Vec<f64> {
    let (weight, next) = (
        &graph.layout().entries[weight],
        &graph.layout().entries[next],
    );
    let incoming = squared_norms(&params[weight.range()], &weight.shape, weight.output_axis);
    let outgoing = squared_norms(
        &params[next.range()],
        &next.shape,
        input_axis(next.output_axis),
    );
    let per_unit = outgoing
        .chunks(repeats)
        .map(|inputs| inputs.iter().sum::<f64>());
    incoming
        .iter()
        .zip(per_unit)
        .map(|(incoming, outgoing)| incoming * outgoing)
        .collect()
}

/// The `count` units of highest saliency, in their original order; the first of equals.
fn most_salient(saliency: &[f64], count: usize) -> Vec<usize> {
    let mut units: Vec<usize> = (0..saliency.len()).collect();
    units.sort_by(|&a, &b| saliency[b].total_cmp(&saliency[a]).then(a.cmp(&b)));
    units.truncate(count);
    units.sort_unstable();
    units
}

/// Squared Euclidean norm of each slice along `axis` of a row-major tensor.
fn squared_norms(values: &[f32], shape: &[usize], axis: usize) -> Vec<f64> {
    let inner: usize = shape[axis + 1..].iter().product();
    let mut norms = vec![0.0; shape[axis]];
    for block in values.chunks_exact(shape[axis] * inner) {
        for (norm, slice) in norms.iter_mut().zip(block.chunks_exact(inner)) {
            *norm += slice
                .iter()
                .map(|&value| f64::from(value).powi(2))
                .sum::<f64>();
        }
    }
    norms
}

/// A row-major tensor.
struct Tensor {
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl Tensor {
    /// The slices `indices` along `axis`.
    fn select(&self, axis: usize, indices: &[usize]) -> Self {
        let inner: usize = self.shape[axis + 1..].iter().product();
        let blocks = self.values.chunks_exact(self.shape[axis] * inner);
        let slices = blocks.flat_map(|block| {
            indices
                .iter()
                .flat_map(move |&index| &block[index * inner..(index + 1) * inner])
        });
        let values = slices.copied().collect();
        let mut shape = self.shape.clone();
        shape[axis] = indices.len();
        Self { shape, values }
    }
}
