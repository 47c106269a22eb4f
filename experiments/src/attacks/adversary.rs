//! What lying devices send.

use std::borrow::Cow;

use tributary_model::{FastEngine, ModelError};

use super::worker::Worker;
use super::world::{World, joined, with_flipped_labels, with_trigger};
use super::{Attack, Training};
use crate::data::Samples;

/// Steps of the local training that plants a backdoor, and their size.
const BACKDOOR_STEPS: usize = 5;
const BACKDOOR_RATE: f32 = 0.1;
/// Norm of a huge vector.
const HUGE: f32 = 1e30;

/// The bad devices of one run.
pub(super) struct Adversary<'a> {
    attack: Attack,
    training: Training,
    devices: usize,
    workers: Vec<Worker<'a>>,
}

impl<'a> Adversary<'a> {
    /// The last `byzantine` devices of `world`, with data as the attack poisons them.
    pub(super) fn new(
        world: &'a World,
        attack: Attack,
        training: Training,
        byzantine: usize,
    ) -> Self {
        let devices = world.devices.len();
        let poisoned = |samples: &'a Samples| match attack {
            Attack::LabelFlip {} => Cow::Owned(with_flipped_labels(samples, world.graph.classes())),
            Attack::Backdoor { .. } => Cow::Owned(joined(samples, &with_trigger(samples))),
            _ => Cow::Borrowed(samples),
        };
        let worker = |number: usize| {
            let name = format!("device {number}");
            let samples = poisoned(&world.devices[number]);
            Worker::new(samples, world.seed, &name, world.initial.len())
        };
        Self {
            attack,
            training,
            devices,
            workers: (devices - byzantine..devices).map(worker).collect(),
        }
    }

    /// The vectors of this round, one per bad device. `honest` are those of the others.
    pub(super) fn vectors(
        &mut self,
        engine: &mut FastEngine,
        weights: &[f32],
        honest: &[Vec<f32>],
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        let all = |vector: Vec<f32>| vec![vector; self.workers.len()];
        Ok(match self.attack {
            Attack::None {} | Attack::LabelFlip {} => self.trained(engine, weights)?,
            Attack::SignFlip {} => all(scaled(mean(honest), -1.0)),
            Attack::Ipm { tau } | Attack::Foe { tau } => all(scaled(mean(honest), -tau)),
            Attack::Alie { z } => all(little_is_enough(honest, z)),
            Attack::Mimic {} => all(honest.first().cloned().unwrap_or_default()),
            Attack::Backdoor { hidden } => {
                let limit = if hidden {
                    median_norm(honest)
                } else {
                    f32::INFINITY
                };
                self.replacements(engine, weights, limit)?
            }
            Attack::NotFinite {} => all(not_finite(weights.len())),
            Attack::HugeNorm {} => {
                let each = HUGE / (weights.len() as f32).sqrt();
                all(vec![each; weights.len()])
            }
        })
    }

    fn trained(
        &mut self,
        engine: &mut FastEngine,
        weights: &[f32],
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        let training = self.training;
        let update = |worker: &mut Worker<'_>| {
            worker
                .update(engine, weights, &training)
                .map(<[f32]>::to_vec)
        };
        self.workers.iter_mut().map(update).collect()
    }

    /// (n / (f learning_rate)) (w - w_bad): if the server took the plain mean, f of these would move
    /// the weights to w_bad, as far as the honest devices stand still.
    fn replacements(
        &mut self,
        engine: &mut FastEngine,
        weights: &[f32],
        limit: f32,
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        let bad = self.workers.len() as f32;
        let boost = self.devices as f32 / (bad * self.training.learning_rate);
        let batch_size = 2 * self.training.batch_size as usize;
        let replacement = |worker: &mut Worker<'_>| {
            let mut wanted = weights.to_vec();
            worker.descend(
                engine,
                &mut wanted,
                batch_size,
                BACKDOOR_RATE,
                BACKDOOR_STEPS,
            )?;
            let difference = weights
                .iter()
                .zip(&wanted)
                .map(|(now, wanted)| boost * (now - wanted));
            let vector: Vec<f32> = difference.collect();
            let norm = norm(&vector);
            let factor = if norm > limit { limit / norm } else { 1.0 };
            Ok(scaled(vector, factor))
        };
        self.workers.iter_mut().map(replacement).collect()
    }
}

pub(super) fn norm(vector: &[f32]) -> f32 {
    let squares: f64 = vector.iter().map(|&value| f64::from(value).powi(2)).sum();
    squares.sqrt() as f32
}

fn median_norm(vectors: &[Vec<f32>]) -> f32 {
    let mut norms: Vec<f32> = vectors.iter().map(|vector| norm(vector)).collect();
    norms.sort_unstable_by(f32::total_cmp);
    norms.get(norms.len() / 2).copied().unwrap_or(0.0)
}

fn scaled(mut vector: Vec<f32>, factor: f32) -> Vec<f32> {
    for value in &mut vector {
        *value *= factor;
    }
    vector
}

fn mean(vectors: &[Vec<f32>]) -> Vec<f32> {
    let count = vectors.len() as f64;
    moments(vectors)
        .into_iter()
        .map(|(sum, _)| (sum / count) as f32)
        .collect()
}

/// Mean - z * standard deviation of each coordinate.
fn little_is_enough(vectors: &[Vec<f32>], z: f32) -> Vec<f32> {
    let count = vectors.len() as f64;
    let shifted = |(sum, squares): (f64, f64)| {
        let mean = sum / count;
        let variance = (squares / count - mean * mean).max(0.0);
        (mean - f64::from(z) * variance.sqrt()) as f32
    };
    moments(vectors).into_iter().map(shifted).collect()
}

/// Sum and sum of squares of each coordinate.
fn moments(vectors: &[Vec<f32>]) -> Vec<(f64, f64)> {
    let mut moments = vec![(0.0, 0.0); vectors.first().map_or(0, Vec::len)];
    for vector in vectors {
        for ((sum, squares), &value) in moments.iter_mut().zip(vector) {
            let value = f64::from(value);
            *sum += value;
            *squares += value * value;
        }
    }
    moments
}

/// NaN and both infinities in turn.
fn not_finite(length: usize) -> Vec<f32> {
    let values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    values.into_iter().cycle().take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_computed_from_the_honest_ones_are_the_textbook_ones() {
        let honest = vec![vec![1.0, 2.0], vec![3.0, 2.0]];
        assert_eq!(scaled(mean(&honest), -2.0), [-4.0, -4.0]);
        // mean 2, deviation 1 in the first coordinate, none in the second
        assert_eq!(little_is_enough(&honest, 1.5), [0.5, 2.0]);
        assert_eq!(
            median_norm(&[vec![3.0, 4.0], vec![1.0, 0.0], vec![0.0, 2.0]]),
            2.0
        );
    }
}
