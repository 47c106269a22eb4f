//! Local training: from an assignment to the encoded update.

use std::sync::Arc;

use bytes::Bytes;
use tributary_aggregator::{Codec, UnknownCodec, UpdateError, clip_l2};
use tributary_model::{Batch, Digest, LocalTraining, ModelError, train};
use tributary_proto::v1::{Assignment, TrainingPlan};

use crate::compute::Workbench;
use crate::conduct::Conduct;
use crate::data::Examples;
use crate::identity::IdentityError;
use crate::library::LoadedModel;
use crate::randomness::{Purposes, seeded_or_os};

/// Most passes over the data that a device makes.
const MAX_EPOCHS: u32 = 10_000;

/// A finished update, ready to be sent any number of times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedUpdate {
    /// The run.
    pub run_id: String,
    /// The round, from 1.
    pub round: u32,
    /// Digest of the model version that the training started from.
    pub model_digest: String,
    /// Name of the codec.
    pub codec: String,
    /// Digest of the bytes.
    pub digest: Digest,
    /// The encoded weight delta.
    pub bytes: Bytes,
}

/// Why there is no update.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// The plan can't be followed.
    #[error("plan field {field} {problem}; the recipe of the run must be corrected")]
    Plan {
        /// Field of the plan.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The codec is not known to this device.
    #[error(transparent)]
    Codec(#[from] UnknownCodec),
    /// The model or the data does not fit, or training diverged.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The delta can't be clipped.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// Training changed nothing.
    #[error("the update is zero everywhere; check the data and the learning rate")]
    Zero,
    /// No randomness.
    #[error(transparent)]
    Randomness(#[from] IdentityError),
}

impl TrainingError {
    /// The word under which it is counted.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Plan { .. } => "bad_plan",
            Self::Codec(_) => "unknown_codec",
            Self::Model(_) => "model",
            Self::Update(_) => "clip",
            Self::Zero => "zero",
            Self::Randomness(_) => "randomness",
        }
    }
}

/// Everything that one training needs, owned, so that it can go to another thread.
pub(crate) struct TrainingJob {
    pub(crate) device_id: String,
    pub(crate) run_id: String,
    pub(crate) round: u32,
    pub(crate) plan: TrainingPlan,
    pub(crate) model: Arc<LoadedModel>,
    pub(crate) examples: Examples,
    pub(crate) conduct: Arc<dyn Conduct>,
}

/// Checks what can be checked before anything is fetched.
pub(crate) fn check_plan(assignment: &Assignment) -> Result<&TrainingPlan, TrainingError> {
    let wrong = |field, problem: &str| TrainingError::Plan {
        field,
        problem: problem.to_owned(),
    };
    let plan = assignment
        .plan
        .as_ref()
        .ok_or_else(|| wrong("plan", "is missing"))?;
    if plan.epochs == 0 || plan.epochs > MAX_EPOCHS {
        return Err(wrong("epochs", "must be 1 to 10000"));
    }
    if plan.batch_size == 0 {
        return Err(wrong("batch_size", "must be at least 1"));
    }
    if !(plan.clip.is_finite() && plan.clip > 0.0) {
        return Err(wrong("clip", "must be finite and above 0"));
    }
    if plan.parameters > tributary_model::MAX_PARAMETERS as u64 {
        return Err(wrong("parameters", "is more than any model may have"));
    }
    plan.codec.parse::<Codec>()?;
    Ok(plan)
}

/// Optimiser steps of a plan on `examples` examples.
pub(crate) fn steps(plan: &TrainingPlan, examples: usize) -> u64 {
    let batches = (examples as u64).div_ceil(u64::from(plan.batch_size.max(1)));
    batches * u64::from(plan.epochs)
}

impl TrainingJob {
    /// Trains, subtracts, clips and encodes.
    pub(crate) fn run(self, bench: &mut Workbench) -> Result<EncodedUpdate, TrainingError> {
        let model = &self.model;
        if self.plan.parameters != model.weights.len() as u64 {
            let problem = format!("is not the model's {}", model.weights.len());
            return Err(TrainingError::Plan {
                field: "parameters",
                problem,
            });
        }
        let codec: Codec = self.plan.codec.parse()?;
        let mut rng = seeded_or_os(
            &self.plan.simulation_seed,
            &self.run_id,
            u64::from(self.round),
            &self.device_id,
            Purposes::Training,
        )?;
        let parts = bench.engine(model);
        let weights = parts.weights;
        weights.clear();
        weights.extend_from_slice(&model.weights);
        let how = LocalTraining {
            epochs: self.plan.epochs,
            batch_size: self.plan.batch_size,
            learning_rate: self.plan.learning_rate,
            max_steps: self.plan.max_steps,
        };
        let data = Batch {
            inputs: &self.examples.inputs,
            labels: &self.examples.labels,
        };
        train(parts.engine, weights, data, &how, &mut rng)?;
        for (new, old) in weights.iter_mut().zip(&model.weights) {
            *new -= old;
        }
        clip_l2(weights, self.plan.clip)?;
        if weights.iter().all(|value| *value == 0.0) {
            return Err(TrainingError::Zero);
        }
        self.conduct.alter_delta(weights);
        Ok(self.finish(codec, codec.encode(weights)))
    }

    fn finish(&self, codec: Codec, encoded: Vec<u8>) -> EncodedUpdate {
        let mut update = EncodedUpdate {
            run_id: self.run_id.clone(),
            round: self.round,
            model_digest: self.model.digest.to_string(),
            codec: codec.name().to_owned(),
            digest: Digest::of(&encoded),
            bytes: Bytes::from(encoded),
        };
        self.conduct.alter_update(&mut update);
        update
    }
}
