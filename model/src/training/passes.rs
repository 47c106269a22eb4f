//! Passes over shuffled data in batches.

use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use super::settings::{LocalTraining, TrainReport};
use crate::{Batch, ModelError};

/// Shows `step` every batch of every pass, in a new order each pass drawn from `rng`, until the
/// epochs or the steps are used up. `step` returns the batch's loss before it changed anything.
pub(super) fn passes(
    data: Batch<'_>,
    features: usize,
    settings: &LocalTraining,
    rng: &mut ChaCha20Rng,
    mut step: impl FnMut(Batch<'_>) -> Result<f32, ModelError>,
) -> Result<TrainReport, ModelError> {
    let mut order: Vec<usize> = (0..data.len()).collect();
    let mut picked = PickedBatch::default();
    let mut report = TrainReport::default();
    for _ in 0..settings.epochs {
        shuffle(&mut order, rng);
        for examples in order.chunks(settings.batch_size as usize) {
            report.last_loss = step(picked.pick(data, features, examples))?;
            if report.steps == 0 {
                report.first_loss = report.last_loss;
            }
            report.steps += 1;
            report.examples += examples.len() as u64;
            if report.steps == u64::from(settings.max_steps) {
                return Ok(report);
            }
        }
    }
    Ok(report)
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
}
