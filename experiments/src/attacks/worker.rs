//! A device that trains with momentum.

use std::borrow::Cow;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tributary_model::{Batch, Engine, FastEngine, ModelError};

use super::Training;
use crate::data::Samples;
use crate::partition::shuffle_front;
use crate::runner::derived_seed;

pub(super) struct Worker<'a> {
    samples: Cow<'a, Samples>,
    rng: ChaCha20Rng,
    order: Vec<usize>,
    inputs: Vec<f32>,
    labels: Vec<u32>,
    gradient: Vec<f32>,
    momentum: Vec<f32>,
}

impl<'a> Worker<'a> {
    /// A worker whose batches depend on `seed` and `name` only.
    pub(super) fn new(samples: Cow<'a, Samples>, seed: u64, name: &str, parameters: usize) -> Self {
        let purpose = format!("attack laboratory: batches of {name}");
        Self {
            order: (0..samples.len()).collect(),
            samples,
            rng: ChaCha20Rng::from_seed(derived_seed(seed, &purpose)),
            inputs: Vec::new(),
            labels: Vec::new(),
            gradient: vec![0.0; parameters],
            momentum: vec![0.0; parameters],
        }
    }

    /// m <- momentum m + (1 - momentum) g, g being the gradient on a new batch; returns m.
    pub(super) fn update(
        &mut self,
        engine: &mut FastEngine,
        weights: &[f32],
        training: &Training,
    ) -> Result<&[f32], ModelError> {
        self.draw(training.batch_size as usize);
        let batch = Batch {
            inputs: &self.inputs,
            labels: &self.labels,
        };
        engine.gradient(weights, batch, &mut self.gradient)?;
        let kept = training.momentum;
        for (momentum, gradient) in self.momentum.iter_mut().zip(&self.gradient) {
            *momentum = kept * *momentum + (1.0 - kept) * gradient;
        }
        Ok(&self.momentum)
    }

    /// Plain steps on `weights`, as many as asked.
    pub(super) fn descend(
        &mut self,
        engine: &mut FastEngine,
        weights: &mut [f32],
        batch_size: usize,
        learning_rate: f32,
        steps: usize,
    ) -> Result<(), ModelError> {
        for _ in 0..steps {
            self.draw(batch_size);
            let batch = Batch {
                inputs: &self.inputs,
                labels: &self.labels,
            };
            engine.step(weights, batch, learning_rate)?;
        }
        Ok(())
    }

    /// Gathers a batch, drawn without replacement.
    fn draw(&mut self, batch_size: usize) {
        let count = batch_size.min(self.order.len());
        shuffle_front(&mut self.rng, &mut self.order, count);
        let features = self.samples.features();
        self.inputs.clear();
        self.labels.clear();
        for &index in &self.order[..count] {
            let row = &self.samples.inputs[index * features..][..features];
            self.inputs.extend_from_slice(row);
            self.labels.push(self.samples.labels[index]);
        }
    }
}
