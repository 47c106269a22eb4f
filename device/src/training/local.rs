//! Training on the device's own data: the shared parameters, and the personal ones beside them.
//!
//! A limit of steps holds for each phase on its own: the shared parameters, FedRep's head, Ditto's
//! personal model.

use rand_chacha::ChaCha20Rng;
use tributary_model::{
    Batch, Correction, Engine, LocalAlgorithm, LocalTraining, Mixture, ModelError, Personalisation,
    Proximal, train_corrected, train_mixture,
};

use crate::state::memory::{Kept, RunState};
use crate::training::plan::LocalPlan;

/// Where a training starts and what it knows.
pub(crate) struct LocalWork<'a> {
    pub(crate) plan: &'a LocalPlan,
    pub(crate) data: Batch<'a>,
    /// The parameters that the device starts from.
    pub(crate) start: &'a [f32],
    /// What the algorithm adds to every gradient.
    pub(crate) offset: Option<&'a [f32]>,
    /// True for personal parameters; empty when the plan names no layers.
    pub(crate) personal: &'a [bool],
    pub(crate) state: &'a RunState,
}

/// What a training leaves behind beside the trained parameters.
pub(crate) struct LocalResult {
    /// Steps of the shared parameters.
    pub(crate) steps: u64,
    /// Personal parameters, to be kept.
    pub(crate) kept: RunState,
}

impl LocalWork<'_> {
    /// Trains `weights`, which hold the start.
    pub(crate) fn train(
        &self,
        engine: &mut dyn Engine,
        weights: &mut [f32],
        rng: &mut ChaCha20Rng,
    ) -> Result<LocalResult, ModelError> {
        let how = &self.plan.training;
        let correction = self.correction();
        let mut kept = RunState::default();
        let report = match &self.plan.personalisation {
            Some(Personalisation::FedRep { head_epochs, .. }) => {
                let shared: Vec<bool> = self.personal.iter().map(|personal| !personal).collect();
                let head = with_epochs(how, *head_epochs);
                let resting = |frozen| Correction {
                    frozen: Some(frozen),
                    ..correction
                };
                let data = self.data;
                train_corrected(engine, weights, data, &head, &resting(&shared), rng)?;
                train_corrected(engine, weights, data, how, &resting(self.personal), rng)?
            }
            Some(Personalisation::Ditto { lambda, epochs }) => {
                let report = train_corrected(engine, weights, self.data, how, &correction, rng)?;
                let personal = self.ditto(engine, *lambda, *epochs, rng)?;
                kept.set(Kept::Personal, personal);
                report
            }
            Some(Personalisation::Apfl { alpha, adaptive }) => {
                let mut personal = self.personal_model();
                let known = self.state.get(Kept::Alpha, 1).filter(|_| *adaptive);
                let mut alpha = known.map_or(*alpha, |known| known[0]);
                let mixture = Mixture {
                    personal: &mut personal,
                    alpha: &mut alpha,
                    adaptive: *adaptive,
                };
                let data = self.data;
                let report = train_mixture(engine, weights, mixture, data, how, &correction, rng)?;
                kept.set(Kept::Personal, personal);
                kept.set(Kept::Alpha, vec![alpha]);
                report
            }
            _ => train_corrected(engine, weights, self.data, how, &correction, rng)?,
        };
        if !self.personal.is_empty() {
            kept.set(Kept::Personal, selected(weights, self.personal, true));
        }
        Ok(LocalResult {
            steps: report.steps,
            kept,
        })
    }

    fn correction(&self) -> Correction<'_> {
        let pull = |strength| {
            Some(Proximal {
                strength,
                anchor: self.start,
            })
        };
        Correction {
            offset: self.offset,
            proximal: match self.plan.algorithm {
                LocalAlgorithm::FedProx { mu } => pull(mu),
                LocalAlgorithm::FedDyn { alpha } => pull(alpha),
                _ => None,
            },
            frozen: None,
        }
    }

    /// The personal model so far; the assigned one when there is none yet.
    fn personal_model(&self) -> Vec<f32> {
        let known = self.state.get(Kept::Personal, self.start.len());
        known.unwrap_or(self.start).to_vec()
    }

    /// v <- v - rate (grad F(v) + lambda (v - w)) with the assigned model w (Li et al. 2021, "Ditto",
    /// algorithm 1).
    fn ditto(
        &self,
        engine: &mut dyn Engine,
        lambda: f32,
        epochs: u32,
        rng: &mut ChaCha20Rng,
    ) -> Result<Vec<f32>, ModelError> {
        let mut personal = self.personal_model();
        let how = with_epochs(&self.plan.training, epochs);
        let correction = Correction {
            proximal: Some(Proximal {
                strength: lambda,
                anchor: self.start,
            }),
            ..Correction::default()
        };
        train_corrected(engine, &mut personal, self.data, &how, &correction, rng)?;
        Ok(personal)
    }
}

fn with_epochs(how: &LocalTraining, epochs: u32) -> LocalTraining {
    LocalTraining { epochs, ..*how }
}

/// The values whose flag is `wanted`, in their order.
pub(crate) fn selected(values: &[f32], flags: &[bool], wanted: bool) -> Vec<f32> {
    let pairs = values.iter().zip(flags);
    pairs
        .filter(|(_, flag)| **flag == wanted)
        .map(|(value, _)| *value)
        .collect()
}

/// Puts `chosen` in the places of `values` whose flag is set.
pub(crate) fn put_back(values: &mut [f32], flags: &[bool], chosen: &[f32]) {
    let places = values.iter_mut().zip(flags).filter(|(_, flag)| **flag);
    for ((place, _), value) in places.zip(chosen) {
        *place = *value;
    }
}
