//! Softmax and cross-entropy in one, on class scores.

use crate::layers::softmax_probabilities;
use crate::{Batch, ModelError};

/// Adds up `-ln p(label)` over the examples and writes its derivative by the scores, divided by
/// `examples`, to `gradient`: `(p - onehot(label)) / examples`.
pub(crate) fn cross_entropy(
    scores: &[f32],
    labels: &[u32],
    examples: usize,
    gradient: &mut [f32],
) -> f64 {
    let classes = scores.len() / labels.len();
    let scale = 1.0 / examples as f32;
    let mut sum = 0.0;
    let rows = scores
        .chunks_exact(classes)
        .zip(gradient.chunks_exact_mut(classes));
    for ((scores, gradient), &label) in rows.zip(labels) {
        let log_normaliser = softmax_probabilities(scores, gradient);
        sum += f64::from(log_normaliser - scores[label as usize]);
        gradient[label as usize] -= 1.0;
        gradient.iter_mut().for_each(|value| *value *= scale);
    }
    sum
}

/// The mean loss, refused if it is not finite.
pub(crate) fn mean(sum: f64, batch: Batch<'_>) -> Result<f32, ModelError> {
    let loss = (sum / batch.len() as f64) as f32;
    if loss.is_finite() {
        Ok(loss)
    } else {
        Err(ModelError::NotFinite {
            what: "loss",
            index: 0,
        })
    }
}
