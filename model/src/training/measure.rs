//! Accuracy and loss of a parameter vector on data.

use crate::{Batch, Engine, ModelError};

/// Examples looked at per call: keeps activations of small models in the cache.
const EXAMPLES: usize = 256;

/// Mean cross-entropy (nats) of `params` on all of `data`.
///
/// # Errors
/// If the data don't fit the graph or the loss is not finite.
pub fn mean_loss(
    engine: &mut dyn Engine,
    params: &[f32],
    data: Batch<'_>,
) -> Result<f64, ModelError> {
    data.check(engine.graph())?;
    let features = engine.graph().features();
    let mut sum = 0.0;
    let pieces = data.inputs.chunks(EXAMPLES * features);
    for (inputs, labels) in pieces.zip(data.labels.chunks(EXAMPLES)) {
        let loss = engine.loss(params, Batch { inputs, labels })?;
        sum += f64::from(loss) * labels.len() as f64;
    }
    Ok(sum / data.len() as f64)
}

/// The share of examples whose most probable class is their label, 0 to 1. The first of equally
/// probable classes counts.
///
/// # Errors
/// If the data don't fit the graph or a probability is not finite.
pub fn accuracy(
    engine: &mut dyn Engine,
    params: &[f32],
    data: Batch<'_>,
) -> Result<f64, ModelError> {
    data.check(engine.graph())?;
    let (features, classes) = (engine.graph().features(), engine.graph().classes());
    let mut probabilities = Vec::new();
    let mut correct = 0_usize;
    let pieces = data.inputs.chunks(EXAMPLES * features);
    for (inputs, labels) in pieces.zip(data.labels.chunks(EXAMPLES)) {
        engine.predict(params, inputs, &mut probabilities)?;
        if let Some(index) = probabilities.iter().position(|value| !value.is_finite()) {
            return Err(ModelError::NotFinite {
                what: "probabilities",
                index,
            });
        }
        let rows = probabilities.chunks_exact(classes).zip(labels);
        correct += rows
            .filter(|(row, label)| most_probable(row) == **label as usize)
            .count();
    }
    Ok(correct as f64 / data.len() as f64)
}

/// Index of the largest value, the first of equals.
fn most_probable(row: &[f32]) -> usize {
    let mut best = 0;
    for (index, &value) in row.iter().enumerate() {
        if value > row[best] {
            best = index;
        }
    }
    best
}
