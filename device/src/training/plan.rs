//! Reading a training plan: every field is checked before anything is fetched.

use bytes::Bytes;
use tributary_aggregator::{Codec, WEIGHT_ONE};
use tributary_model::{LocalAlgorithm, LocalTraining, MAX_EPOCHS, Personalisation};
use tributary_proto::RunId;
use tributary_proto::v1::{Assignment, TrainingPlan};
use tributary_recipe::compatibility::{LocalOptions, MAX_EXAMPLES_CAP, is_momentum};

use crate::training::combination;
use crate::training::error::TrainingError;
use crate::training::method::{algorithm, personalisation};
use crate::training::privacy::Privacy;

/// A plan that can be followed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LocalPlan {
    pub(crate) task: String,
    pub(crate) training: LocalTraining,
    pub(crate) clip: f32,
    pub(crate) codec: Codec,
    pub(crate) seed: Bytes,
    pub(crate) parameters: u64,
    pub(crate) momentum: f32,
    pub(crate) algorithm: LocalAlgorithm,
    pub(crate) personalisation: Option<Personalisation>,
    pub(crate) examples_cap: u64,
    pub(crate) privacy: Privacy,
}

impl LocalPlan {
    /// Reads the plan of an assignment.
    pub(crate) fn read(assignment: &Assignment) -> Result<Self, TrainingError> {
        let plan = assignment
            .plan
            .as_ref()
            .ok_or_else(|| TrainingError::plan("plan", "is missing"))?;
        check_training(plan)?;
        let plan = Self {
            task: plan.task.clone(),
            training: LocalTraining {
                epochs: plan.epochs,
                batch_size: plan.batch_size,
                learning_rate: plan.learning_rate,
                max_steps: plan.max_steps,
            },
            clip: plan.clip,
            codec: plan.codec.parse()?,
            seed: plan.simulation_seed.clone(),
            parameters: plan.parameters,
            momentum: plan.momentum,
            algorithm: algorithm(plan.algorithm.as_ref())?,
            personalisation: personalisation(plan.personalisation.as_ref(), assignment)?,
            examples_cap: plan.examples_cap,
            privacy: Privacy::read(plan)?,
        };
        plan.algorithm.check().map_err(TrainingError::in_plan)?;
        plan.check_combination()?;
        plan.check_privacy(&assignment.run_id)?;
        if plan.algorithm == LocalAlgorithm::Scaffold && assignment.auxiliary_digests.len() > 1 {
            let problem = "must hold at most the server's control variate";
            return Err(TrainingError::plan("auxiliary_digests", problem));
        }
        Ok(plan)
    }

    /// Whether nothing of the data may decide whether, when or at what length the device answers.
    pub(crate) fn is_private(&self) -> bool {
        self.privacy.answer_window.is_some() || self.privacy.is_noised()
    }

    /// The options that may exclude each other.
    fn options(&self) -> LocalOptions<'_> {
        LocalOptions {
            algorithm: self.algorithm,
            personalisation: self.personalisation.as_ref(),
            momentum: self.momentum,
            sparse: self.codec.scheme().is_sparse(),
            capped: self.examples_cap > 0,
        }
    }

    /// Refuses what has no meaning together: see the table in the module `payload`.
    fn check_combination(&self) -> Result<(), TrainingError> {
        let options = self.options();
        combination::check_method(&options)?;
        if self.examples_cap > MAX_EXAMPLES_CAP {
            let problem = "must be 1 to 10000, or 0 for none";
            return Err(TrainingError::plan("examples_cap", problem));
        }
        combination::check_cap(&options)
    }

    /// Refuses what does not go with privacy, and a run that no record can name.
    fn check_privacy(&self, run_id: &str) -> Result<(), TrainingError> {
        let is_noised = self.privacy.is_noised();
        let is_recorded = self.privacy.limits.is_limited() || is_noised;
        if is_recorded && run_id.parse::<RunId>().is_err() {
            let problem = "needs a record, and the run's id can't name one: use 1 to 64 characters";
            return Err(TrainingError::plan("participation", problem));
        }
        let options = self.options();
        if is_noised {
            combination::check_local_noise(&options, self.privacy.report_within_clip)?;
        }
        if self.is_private() {
            combination::check_form(self.codec, &options)?;
        }
        Ok(())
    }

    /// Optimiser steps on `examples` examples, those for personal parameters included.
    pub(crate) fn steps(&self, examples: usize) -> u64 {
        let batches = (examples as u64).div_ceil(u64::from(self.training.batch_size.max(1)));
        let phase = |epochs: u32| {
            let steps = batches * u64::from(epochs);
            match self.training.max_steps {
                0 => steps,
                most => steps.min(u64::from(most)),
            }
        };
        let personal = match &self.personalisation {
            Some(Personalisation::FedRep { head_epochs, .. }) => phase(*head_epochs),
            Some(Personalisation::Ditto { epochs, .. }) => phase(*epochs),
            Some(Personalisation::Apfl { .. }) => phase(self.training.epochs),
            _ => 0,
        };
        phase(self.training.epochs) + personal
    }

    /// What a payload of a device with `examples` examples is multiplied by, and its weight in
    /// units of 2^-20; `None` when all devices weigh alike. The factor is that of the rounded weight,
    /// to the last bit, so that what is summed and what it is divided by agree.
    pub(crate) fn share(&self, examples: usize) -> Option<(f32, u64)> {
        if self.examples_cap == 0 {
            return None;
        }
        let counted = (examples as u64).min(self.examples_cap);
        let share = counted as f64 / self.examples_cap as f64;
        let weight = ((share * WEIGHT_ONE as f64).round() as u64).max(1);
        // exact: at most 2^20, over a power of two
        Some((weight as f32 / WEIGHT_ONE as f32, weight))
    }
}

fn check_training(plan: &TrainingPlan) -> Result<(), TrainingError> {
    if plan.epochs == 0 || plan.epochs > MAX_EPOCHS {
        return Err(TrainingError::plan("epochs", "must be 1 to 10000"));
    }
    if plan.batch_size == 0 {
        return Err(TrainingError::plan("batch_size", "must be at least 1"));
    }
    if !(plan.clip.is_finite() && plan.clip > 0.0) {
        return Err(TrainingError::plan("clip", "must be finite and above 0"));
    }
    if plan.parameters > tributary_model::MAX_PARAMETERS as u64 {
        return Err(TrainingError::plan(
            "parameters",
            "is more than any model may have",
        ));
    }
    if !is_momentum(plan.momentum) {
        return Err(TrainingError::plan(
            "momentum",
            "must be at least 0 and below 1",
        ));
    }
    Ok(())
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
