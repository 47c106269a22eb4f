//! A float model with its activation ranges to an integer model.

use super::interpreter::Int8Model;
use super::kernel::{Int8Tensor, Lowered, Lowering};
use super::{ActivationRanges, QuantError};
use crate::layers::LayerSpec;
use crate::{Graph, ModelError};

/// Quantises a model: weights per output channel, activations per tensor by `ranges`.
///
/// A ReLU right after a dense or convolution layer is absorbed into it, flatten disappears, pooling
/// keeps the scale of its input, and a final softmax is left out (the scores are logits). The
/// result carries its self-test vectors.
///
/// # Errors
/// If lengths disagree with the graph, a parameter is not finite, a softmax stands before the end,
/// or a layer's factors or sums can't be represented.
pub fn quantise(
    graph: &Graph,
    params: &[f32],
    ranges: &ActivationRanges,
) -> Result<Int8Model, ModelError> {
    let mut model = lower(graph, params, ranges)?;
    model.record_self_tests();
    Ok(model)
}

/// What a model will need on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes of a slot in flash: the length of the bundle.
    pub flash_bytes: usize,
    /// Bytes of RAM for activations.
    pub arena_bytes: usize,
}

/// Computes what the int8 build of a graph needs, before it is trained: sizes depend on the
/// architecture alone.
///
/// # Errors
/// If a layer has no integer form.
pub fn footprint(graph: &Graph) -> Result<Footprint, ModelError> {
    let zeros = vec![0.0; graph.layout().len()];
    let ranges = ActivationRanges::new(vec![(-1.0, 1.0); graph.shapes().len()])?;
    let model = quantise(graph, &zeros, &ranges)?;
    Ok(Footprint {
        flash_bytes: model.flash_bytes(),
        arena_bytes: model.arena().bytes,
    })
}

fn lower(
    graph: &Graph,
    params: &[f32],
    ranges: &ActivationRanges,
) -> Result<Int8Model, ModelError> {
    check(graph, params, ranges)?;
    let range_error = || QuantError::RangeCount {
        expected: graph.shapes().len(),
        actual: ranges.ranges().len(),
    };
    let input = Int8Tensor {
        shape: graph.shapes()[0].clone(),
        scale: ranges.scale(0).ok_or_else(range_error)?,
    };

    let mut current = input.clone();
    let mut steps = Vec::new();
    let mut index = 0;
    while index < graph.trunk_len() {
        let layer = graph.layers()[index].layer();
        let relu = layer.absorbs_relu()
            && matches!(graph.layers().get(index + 1), Some(LayerSpec::Relu(_)));
        let last = index + usize::from(relu);
        let request = Lowering {
            index,
            input: &current,
            output_shape: &graph.shapes()[index + 1],
            output_scale: ranges.scale(last + 1).ok_or_else(range_error)?,
            relu,
            parameters: graph
                .layer_entries(index)
                .map(|entry| (entry, &params[entry.range()]))
                .collect(),
        };
        match layer.lower_int8(&request)? {
            Lowered::Reshape(shape) => current.shape = shape,
            Lowered::Step(step) => {
                current = step.output.clone();
                steps.push(step);
            }
        }
        index = last + 1;
    }
    Ok(Int8Model::assemble(&graph.spec().name, input, steps))
}

fn check(graph: &Graph, params: &[f32], ranges: &ActivationRanges) -> Result<(), ModelError> {
    let (expected, actual) = (graph.layout().len(), params.len());
    if expected != actual {
        return Err(ModelError::WrongLength {
            what: "params",
            expected,
            actual,
        });
    }
    if let Some(index) = params.iter().position(|value| !value.is_finite()) {
        return Err(ModelError::NotFinite {
            what: "params",
            index,
        });
    }
    let (expected, actual) = (graph.shapes().len(), ranges.ranges().len());
    if expected != actual {
        return Err(QuantError::RangeCount { expected, actual }.into());
    }
    Ok(())
}
