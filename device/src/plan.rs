//! Reading a training plan: every field is checked before anything is fetched.

use bytes::Bytes;
use tributary_aggregator::{Codec, WEIGHT_ONE};
use tributary_model::{LocalAlgorithm, LocalTraining, ModelError, Personalisation};
use tributary_proto::v1;
use tributary_proto::v1::local_algorithm::Kind as AlgorithmKind;
use tributary_proto::v1::personalisation::Kind as PersonalKind;
use tributary_proto::v1::{Assignment, TrainingPlan};

use crate::privacy::Privacy;
use crate::training::TrainingError;

/// Most passes over the data that a device makes.
const MAX_EPOCHS: u32 = 10_000;
/// Most models that a device compares.
const MAX_CLUSTERS: usize = 16;
/// Largest cap on examples: a single example then still has 105 units of weight, and its payload
/// some hundred steps of the grid that sums are made on.
const MAX_EXAMPLES_CAP: u64 = 10_000;

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
            .ok_or_else(|| wrong("plan", "is missing"))?;
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
        plan.algorithm.check().map_err(in_plan)?;
        plan.check_combination()?;
        plan.privacy.check(&plan, &assignment.run_id)?;
        if plan.algorithm == LocalAlgorithm::Scaffold && assignment.auxiliary_digests.len() > 1 {
            let problem = "must hold at most the server's control variate";
            return Err(wrong("auxiliary_digests", problem));
        }
        Ok(plan)
    }

    /// Whether nothing of the data may decide whether, when or at what length the device answers.
    pub(crate) fn is_private(&self) -> bool {
        self.privacy.answer_window.is_some() || self.privacy.is_noised()
    }

    /// Refuses what has no meaning together: see the table in the module `payload`.
    fn check_combination(&self) -> Result<(), TrainingError> {
        let plain = matches!(
            self.algorithm,
            LocalAlgorithm::FedAvg | LocalAlgorithm::FedProx { .. }
        );
        let name = self.algorithm.name();
        if let Some(personal) = &self.personalisation {
            // FedDyn keeps one gradient per device: it suits models that are shared whole
            let suits = plain
                || matches!(
                    (&self.algorithm, personal),
                    (
                        LocalAlgorithm::FedDyn { .. },
                        Personalisation::Ditto { .. } | Personalisation::Apfl { .. }
                    )
                );
            if !suits {
                let problem = format!(
                    "{} does not go with the algorithm {name}; use fedavg or fedprox",
                    personal.name()
                );
                return Err(wrong("personalisation", problem));
            }
        }
        if self.momentum > 0.0 && !plain {
            let problem = format!("does not go with the algorithm {name}; use fedavg or fedprox");
            return Err(wrong("momentum", problem));
        }
        self.check_clusters()?;
        self.check_cap()
    }

    /// What a device carries from one payload to the next is of one model.
    fn check_clusters(&self) -> Result<(), TrainingError> {
        if !matches!(self.personalisation, Some(Personalisation::Ifca { .. })) {
            return Ok(());
        }
        if self.momentum > 0.0 {
            let problem = "does not go with ifca, whose devices change between models";
            return Err(wrong("momentum", problem));
        }
        if self.codec.scheme().is_sparse() {
            let problem = "does not go with the personalisation ifca: what topk leaves out of one \
                           model would be added to another";
            return Err(wrong("codec", problem));
        }
        Ok(())
    }

    fn check_cap(&self) -> Result<(), TrainingError> {
        let problem = match self.algorithm {
            _ if self.examples_cap == 0 => return Ok(()),
            _ if self.examples_cap > MAX_EXAMPLES_CAP => "must be 1 to 10000, or 0 for none",
            LocalAlgorithm::QFedAvg { .. } => {
                "does not go with qfedavg, which weighs updates by their loss"
            }
            LocalAlgorithm::Scaffold | LocalAlgorithm::FedDyn { .. } => {
                "does not go with scaffold or feddyn: the device's state would move by the whole \
                 change and the server's by a share of it"
            }
            _ => return Ok(()),
        };
        Err(wrong("examples_cap", problem))
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

pub(crate) fn wrong(field: &'static str, problem: impl Into<String>) -> TrainingError {
    TrainingError::Plan {
        field,
        problem: problem.into(),
    }
}

/// Ranges that the model crate checks are fields of the plan here.
pub(crate) fn in_plan(error: ModelError) -> TrainingError {
    match error {
        ModelError::Training { field, rule, value } => wrong(field, format!("{rule}, got {value}")),
        other => TrainingError::Model(other),
    }
}

fn check_training(plan: &TrainingPlan) -> Result<(), TrainingError> {
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
    if !(0.0..1.0).contains(&plan.momentum) {
        return Err(wrong("momentum", "must be at least 0 and below 1"));
    }
    Ok(())
}

fn algorithm(message: Option<&v1::LocalAlgorithm>) -> Result<LocalAlgorithm, TrainingError> {
    let Some(message) = message else {
        return Ok(LocalAlgorithm::FedAvg);
    };
    Ok(match &message.kind {
        Some(AlgorithmKind::Fedprox(fedprox)) => LocalAlgorithm::FedProx { mu: fedprox.mu },
        Some(AlgorithmKind::Scaffold(_)) => LocalAlgorithm::Scaffold,
        Some(AlgorithmKind::Feddyn(feddyn)) => LocalAlgorithm::FedDyn {
            alpha: feddyn.alpha,
        },
        Some(AlgorithmKind::Fednova(_)) => LocalAlgorithm::FedNova,
        Some(AlgorithmKind::Qfedavg(qfedavg)) => LocalAlgorithm::QFedAvg { q: qfedavg.q },
        None => return Err(wrong("algorithm", "is not known to this device; update it")),
    })
}

fn personalisation(
    message: Option<&v1::Personalisation>,
    assignment: &Assignment,
) -> Result<Option<Personalisation>, TrainingError> {
    let Some(message) = message else {
        return Ok(None);
    };
    Ok(Some(match &message.kind {
        Some(PersonalKind::Fedper(fedper)) => Personalisation::FedPer {
            layers: fedper.layers.clone(),
        },
        Some(PersonalKind::Fedrep(fedrep)) => Personalisation::FedRep {
            layers: fedrep.layers.clone(),
            head_epochs: fedrep.head_epochs,
        },
        Some(PersonalKind::Ditto(ditto)) => Personalisation::Ditto {
            lambda: ditto.lambda,
            epochs: ditto.epochs,
        },
        Some(PersonalKind::Apfl(apfl)) => Personalisation::Apfl {
            alpha: apfl.alpha,
            adaptive: apfl.adaptive,
        },
        Some(PersonalKind::Ifca(_)) => Personalisation::Ifca {
            clusters: clusters(assignment)?,
        },
        None => {
            let problem = "is not known to this device; update it";
            return Err(wrong("personalisation", problem));
        }
    }))
}

fn clusters(assignment: &Assignment) -> Result<u32, TrainingError> {
    let models = &assignment.auxiliary_digests;
    if !(2..=MAX_CLUSTERS).contains(&models.len()) {
        let problem = "must hold 2 to 16 model versions, one per cluster";
        return Err(wrong("auxiliary_digests", problem));
    }
    if models[0] != assignment.model_digest {
        let problem = "must begin with the assignment's model_digest";
        return Err(wrong("auxiliary_digests", problem));
    }
    Ok(models.len() as u32)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
