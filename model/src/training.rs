//! Local training and its measure.

use rand_chacha::ChaCha20Rng;
use rand_core::Rng;
use serde::{Deserialize, Serialize};

use crate::{Batch, Engine, ModelError};

/// Most passes over the data in one call.
pub const MAX_EPOCHS: u32 = 10_000;
/// Examples predicted per call in [`accuracy`].
const ACCURACY_EXAMPLES: usize = 256;

/// How a device trains on its own data: plain stochastic gradient descent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalTraining {
    /// Passes over the data, 1 to [`MAX_EPOCHS`].
    pub epochs: u32,
    /// Examples per step, at least 1; the last step of a pass takes what is left.
    pub batch_size: u32,
    /// Step size, finite and above 0.
    pub learning_rate: f32,
}

impl LocalTraining {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`ModelError::Training`] names the first field that is out of range.
    pub fn check(&self) -> Result<(), ModelError> {
        let wrong = |field, rule, value: String| Err(ModelError::Training { field, rule, value });
        if self.epochs == 0 || self.epochs > MAX_EPOCHS {
            return wrong("epochs", "must be 1 to 10000", self.epochs.to_string());
        }
        if self.batch_size == 0 {
            return wrong(
                "batch_size",
                "must be at least 1",
                self.batch_size.to_string(),
            );
        }
        if !self.learning_rate.is_finite() || self.learning_rate <= 0.0 {
            let value = self.learning_rate.to_string();
            return wrong("learning_rate", "must be finite and above 0", value);
        }
        Ok(())
    }
}

/// What a call of [`train`] did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrainReport {
    /// Steps taken.
    pub steps: u64,
    /// Examples seen, counting repeats.
    pub examples: u64,
    /// Mean cross-entropy (nats) of the first batch, before any step.
    pub first_loss: f32,
    /// Mean cross-entropy (nats) of the last batch, before its step.
    pub last_loss: f32,
}

/// Trains `params` in place on `data`, in a new order each epoch drawn from `rng`.
///
/// The same engine type, parameters, data, settings and generator state give the same bits.
///
/// # Errors
/// On settings out of range, data that don't fit the graph, or a loss or parameter that is no
/// longer finite; `params` are then partly trained and should be thrown away.
pub fn train(
    engine: &mut dyn Engine,
    params: &mut [f32],
    data: Batch<'_>,
    settings: &LocalTraining,
    rng: &mut ChaCha20Rng,
) -> Result<TrainReport, ModelError> {
    settings.check()?;
    data.check(engine.graph())?;
    let mut order: Vec<usize> = (0..data.len()).collect();
    let mut picked = PickedBatch::default();
    let mut report = TrainReport {
        steps: 0,
        examples: 0,
        first_loss: 0.0,
        last_loss: 0.0,
    };
    let features = engine.graph().features();
    for _ in 0..settings.epochs {
        shuffle(&mut order, rng);
        for examples in order.chunks(settings.batch_size as usize) {
            let batch = picked.pick(data, features, examples);
            report.last_loss = engine.step(params, batch, settings.learning_rate)?;
            if report.steps == 0 {
                report.first_loss = report.last_loss;
            }
            report.steps += 1;
            report.examples += examples.len() as u64;
        }
    }
    match params.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(ModelError::NotFinite {
            what: "trained parameters",
            index,
        }),
        None => Ok(report),
    }
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
    let pieces = data.inputs.chunks(ACCURACY_EXAMPLES * features);
    for (inputs, labels) in pieces.zip(data.labels.chunks(ACCURACY_EXAMPLES)) {
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

/// A batch gathered from scattered examples; its memory is reused.
#[derive(Default)]
struct PickedBatch {
    inputs: Vec<f32>,
    labels: Vec<u32>,
}

impl PickedBatch {
    fn pick(&mut self, data: Batch<'_>, features: usize, examples: &[usize]) -> Batch<'_> {
        self.inputs.clear();
        self.labels.clear();
        for &example in examples {
            let start = example * features;
            self.inputs
                .extend_from_slice(&data.inputs[start..start + features]);
            self.labels.push(data.labels[example]);
        }
        Batch {
            inputs: &self.inputs,
            labels: &self.labels,
        }
    }
}

/// Fisher-Yates (Knuth, TAOCP 2, algorithm 3.4.2P).
fn shuffle(order: &mut [usize], rng: &mut ChaCha20Rng) {
    for last in (1..order.len()).rev() {
        order.swap(last, below(rng, last as u64 + 1) as usize);
    }
}

/// Uniform on `0..bound` without bias: draws at or above the largest multiple of `bound` are
/// thrown away.
fn below(rng: &mut ChaCha20Rng, bound: u64) -> u64 {
    let usable = u64::MAX - u64::MAX % bound;
    loop {
        let draw = rng.next_u64();
        if draw < usable {
            return draw % bound;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn shuffling_keeps_every_index_once_and_depends_on_the_seed() {
        let shuffled = |seed| {
            let mut order: Vec<usize> = (0..100).collect();
            shuffle(&mut order, &mut ChaCha20Rng::from_seed([seed; 32]));
            order
        };
        let mut sorted = shuffled(1);
        assert_eq!(sorted, shuffled(1));
        assert_ne!(sorted, shuffled(2));
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn settings_out_of_range_name_their_field() {
        let good = LocalTraining {
            epochs: 1,
            batch_size: 8,
            learning_rate: 0.1,
        };
        assert!(good.check().is_ok());
        let cases = [
            (LocalTraining { epochs: 0, ..good }, "epochs"),
            (
                LocalTraining {
                    epochs: MAX_EPOCHS + 1,
                    ..good
                },
                "epochs",
            ),
            (
                LocalTraining {
                    batch_size: 0,
                    ..good
                },
                "batch_size",
            ),
            (
                LocalTraining {
                    learning_rate: 0.0,
                    ..good
                },
                "learning_rate",
            ),
            (
                LocalTraining {
                    learning_rate: f32::NAN,
                    ..good
                },
                "learning_rate",
            ),
            (
                LocalTraining {
                    learning_rate: f32::INFINITY,
                    ..good
                },
                "learning_rate",
            ),
        ];
        for (settings, expected) in cases {
            let error = settings.check().unwrap_err();
            assert!(matches!(error, ModelError::Training { field, .. } if field == expected));
        }
    }
}
