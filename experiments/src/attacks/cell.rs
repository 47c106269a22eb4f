//! One training run: a pipeline under an attack.

use std::borrow::Cow;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};
use tributary_aggregator::{RobustError, RobustSpec};
use tributary_model::{Batch, FastEngine, ModelError, accuracy};

use super::adversary::Adversary;
use super::door::Door;
use super::worker::Worker;
use super::world::World;
use super::{Attack, AttackError, AttackRecipe};
use crate::data::Samples;
use crate::runner::derived_seed;

/// What came of one run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CellResult {
    /// Share of the test samples that the last model gets right, 0 to 1.
    pub(super) accuracy: f64,
    /// Share of the samples with the trigger that it takes for the target.
    pub(super) triggered: f64,
    /// Updates that the door refused.
    pub(super) refused: u64,
    /// SHA-256 of the last weights, in hex.
    pub(super) digest: String,
}

/// Trains `pipeline` (with its f) under `attack` to the end of the recipe.
///
/// # Errors
/// [`AttackError::Rule`] when the rule can't bear the counts; check them first.
pub(super) fn train(
    recipe: &AttackRecipe,
    world: &World,
    pipeline: &RobustSpec,
    attack: Attack,
) -> Result<CellResult, AttackError> {
    let mut run = Run::new(recipe, world, pipeline, attack)?;
    for _ in 0..recipe.rounds {
        match run.round() {
            Ok(()) => {}
            // the weights are out of range: no device has a gradient any more, and none will
            Err(AttackError::Model(ModelError::NotFinite { .. })) => break,
            Err(error) => return Err(error),
        }
    }
    run.finish()
}

struct Run<'a> {
    recipe: &'a AttackRecipe,
    world: &'a World,
    pipeline: &'a RobustSpec,
    attack: Attack,
    engine: FastEngine,
    weights: Vec<f32>,
    honest: Vec<Worker<'a>>,
    adversary: Adversary<'a>,
    server: Worker<'a>,
    door: Door,
    /// Stochastic rounding of codecs and bucketing.
    rng: ChaCha20Rng,
    previous: Option<Vec<f32>>,
    refused: u64,
}

impl<'a> Run<'a> {
    fn new(
        recipe: &'a AttackRecipe,
        world: &'a World,
        pipeline: &'a RobustSpec,
        attack: Attack,
    ) -> Result<Self, AttackError> {
        let byzantine = pipeline.byzantine as usize;
        let dimension = world.initial.len();
        let worker = |samples: &'a Samples, name: &str| {
            Worker::new(Cow::Borrowed(samples), world.seed, name, dimension)
        };
        let honest = world.devices[..world.devices.len() - byzantine]
            .iter()
            .enumerate();
        let honest = honest.map(|(number, samples)| worker(samples, &format!("device {number}")));
        Ok(Self {
            honest: honest.collect(),
            adversary: Adversary::new(world, attack, recipe.training, byzantine),
            server: worker(&world.root, "server"),
            engine: FastEngine::new(&world.graph),
            weights: world.initial.clone(),
            door: Door::new(recipe.codec, recipe.clip, dimension)?,
            rng: ChaCha20Rng::from_seed(derived_seed(world.seed, "attack laboratory: rounding")),
            previous: None,
            refused: 0,
            recipe,
            world,
            pipeline,
            attack,
        })
    }

    fn round(&mut self) -> Result<(), AttackError> {
        let (vectors, refused) = self.collect()?;
        self.refused += refused as u64;
        let reference = if self.pipeline.needs_reference() {
            let training = &self.recipe.training;
            Some(
                self.server
                    .update(&mut self.engine, &self.weights, training)?
                    .to_vec(),
            )
        } else {
            None
        };
        // a bad device whose update was refused is one bad vector less among those that are left
        let spec = RobustSpec {
            byzantine: self.pipeline.byzantine.saturating_sub(refused),
            ..self.pipeline.clone()
        };
        let (reference, previous) = (reference.as_deref(), self.previous.as_deref());
        let step = match spec.aggregate(&vectors, reference, previous, self.rng.next_u64()) {
            Ok(step) => step,
            // nothing to go on: the round is lost
            Err(RobustError::NoReference | RobustError::Overflow) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let rate = self.recipe.training.learning_rate;
        for (weight, step) in self.weights.iter_mut().zip(&step) {
            *weight -= rate * step;
        }
        self.previous = spec.uses_previous().then_some(step);
        Ok(())
    }

    /// The vectors that passed the door, honest ones first, and how many did not.
    fn collect(&mut self) -> Result<(Vec<Vec<f32>>, u32), AttackError> {
        let mut honest = Vec::with_capacity(self.honest.len());
        for worker in &mut self.honest {
            let vector = worker.update(&mut self.engine, &self.weights, &self.recipe.training)?;
            honest.push(vector.to_vec());
        }
        let bad = self
            .adversary
            .vectors(&mut self.engine, &self.weights, &honest)?;
        let mut admitted = Vec::with_capacity(self.world.devices.len());
        for vector in &honest {
            admitted.push(self.door.clipped(vector, &mut self.rng)?);
        }
        let mut refused = 0;
        for vector in &bad {
            let passed = match self.attack {
                Attack::NotFinite {} | Attack::HugeNorm {} => self.door.raw(vector, &mut self.rng),
                _ => self.door.clipped(vector, &mut self.rng),
            };
            match passed {
                Ok(vector) => admitted.push(vector),
                Err(_) => refused += 1,
            }
        }
        Ok((admitted, refused))
    }

    fn finish(mut self) -> Result<CellResult, AttackError> {
        let mut digest = Sha256::new();
        for weight in &self.weights {
            digest.update(weight.to_le_bytes());
        }
        Ok(CellResult {
            accuracy: self.score(&self.world.test)?,
            triggered: self.score(&self.world.triggered)?,
            refused: self.refused,
            digest: hex::encode(digest.finalize()),
        })
    }

    /// A model whose answers are not numbers gets nothing right.
    fn score(&mut self, samples: &Samples) -> Result<f64, AttackError> {
        let batch = Batch {
            inputs: &samples.inputs,
            labels: &samples.labels,
        };
        match accuracy(&mut self.engine, &self.weights, batch) {
            Ok(share) => Ok(share),
            Err(ModelError::NotFinite { .. }) => Ok(0.0),
            Err(error) => Err(error.into()),
        }
    }
}
