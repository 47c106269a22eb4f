//! What is sent of a training, by algorithm, and the state that moves once it was counted.
//!
//! With delta = trained - start, tau the number of steps, n the number of examples, F the mean loss
//! of the assigned model on them and C the clip, the payload is:
//!
//! | plan | payload | weight | work |
//! |---|---|---|---|
//! | FedAvg, FedProx, FedDyn, Ditto, APFL, IFCA | delta | - | - |
//! | FedPer, FedRep | delta of the shared parameters in their order | - | - |
//! | SCAFFOLD | delta, then the change of the control variate | - | - |
//! | FedNova | delta / tau | - | weight x tau |
//! | q-FedAvg | F^q x delta clipped to C | F^q + q F^(q-1) L norm^2, L = 1 / rate | - |
//! | momentum b | m = b m + (1 - b) delta | - | - |
//!
//! The whole payload is clipped to C. With a cap on examples it is then multiplied by
//! min(n, cap) / cap, which is also its weight. Weights and work travel in units of 2^-20; a weight
//! of 0 stands for 1.

use tributary_aggregator::{UpdateError, clip_l2};
use tributary_model::{LocalAlgorithm, QFedAvgShare, feddyn_gradient_change, scaffold_change};

use crate::local::selected;
use crate::memory::{Kept, RunState};
use crate::plan::{LocalPlan, in_units};
use crate::training::TrainingError;

/// One in the units of weights and work.
const ONE: u64 = 1 << 20;

/// What the payload is made of.
pub(crate) struct Trained<'a> {
    pub(crate) plan: &'a LocalPlan,
    /// Trained less start, one value per parameter.
    pub(crate) delta: Vec<f32>,
    /// Steps taken.
    pub(crate) steps: u64,
    /// Number of examples.
    pub(crate) examples: usize,
    /// True for personal parameters; empty when the plan names no layers.
    pub(crate) personal: &'a [bool],
    /// The server's control variate; SCAFFOLD only.
    pub(crate) control: &'a [f32],
    /// Mean loss of the assigned model; q-FedAvg only.
    pub(crate) loss: f64,
    pub(crate) state: &'a RunState,
}

/// A payload before clipping.
pub(crate) struct Payload {
    pub(crate) values: Vec<f32>,
    /// In units of 2^-20; 0 stands for 1.
    pub(crate) weight: u64,
    /// In units of 2^-20.
    pub(crate) work: u64,
    /// What the payload is multiplied by after clipping.
    pub(crate) share: f32,
    /// How the algorithm's state moves when the payload is sent whole.
    moves: Option<(Kept, Vec<f32>)>,
    /// The new momentum.
    momentum: Option<Vec<f32>>,
}

impl Trained<'_> {
    pub(crate) fn payload(self) -> Result<Payload, TrainingError> {
        let (plan, state) = (self.plan, self.state);
        let rate = plan.training.learning_rate;
        let (share, weight) = plan.share(self.examples).unwrap_or((1.0, 0));
        let mut payload = Payload {
            values: Vec::new(),
            weight,
            work: 0,
            share,
            moves: None,
            momentum: None,
        };
        let mut delta = self.delta;
        match plan.algorithm {
            LocalAlgorithm::FedAvg | LocalAlgorithm::FedProx { .. } => {}
            LocalAlgorithm::FedDyn { alpha } => {
                let change = feddyn_gradient_change(&delta, alpha);
                payload.moves = Some((Kept::DynamicGradient, change));
            }
            LocalAlgorithm::Scaffold => {
                let change = scaffold_change(self.control, &delta, self.steps, rate)?;
                delta.extend_from_slice(&change);
                payload.moves = Some((Kept::ControlVariate, change));
            }
            LocalAlgorithm::FedNova => {
                let steps = self.steps.max(1);
                delta.iter_mut().for_each(|value| *value /= steps as f32);
                payload.work = if weight == 0 { ONE } else { weight }.saturating_mul(steps);
            }
            LocalAlgorithm::QFedAvg { q } => {
                let report = clip_l2(&mut delta, plan.clip)?;
                let norm = report.norm * report.factor;
                let part = QFedAvgShare::new(q, self.loss, norm, rate);
                let factor = part.factor as f32;
                delta.iter_mut().for_each(|value| *value *= factor);
                payload.weight = in_units(part.weight);
            }
        }
        if !self.personal.is_empty() {
            delta = selected(&delta, self.personal, false);
        }
        if plan.momentum > 0.0 {
            with_momentum(&mut delta, plan.momentum, state);
            payload.momentum = Some(delta.clone());
        }
        payload.values = delta;
        Ok(payload)
    }
}

/// m <- b m + (1 - b) delta, from m = 0 (Karimireddy, He, Jaggi 2021, "Learning from History for
/// Byzantine Robust Optimization", algorithm 1).
fn with_momentum(delta: &mut [f32], beta: f32, state: &RunState) {
    let before = state.get(Kept::Momentum, delta.len());
    for (index, value) in delta.iter_mut().enumerate() {
        let before = before.map_or(0.0, |before| before[index]);
        *value = beta * before + (1.0 - beta) * *value;
    }
}

impl Payload {
    /// Clips the payload to `clip` and multiplies it by its share of examples; returns the factor
    /// of the clipping.
    pub(crate) fn clip(&mut self, clip: f32) -> Result<f64, UpdateError> {
        let report = clip_l2(&mut self.values, clip)?;
        if self.share < 1.0 {
            let share = self.share;
            self.values.iter_mut().for_each(|value| *value *= share);
        }
        Ok(report.factor)
    }

    /// The state after this payload was counted. What clipping took off does not move it, so that
    /// the server's sums stay the sums of the devices' states: with `factor` 1 these are the papers'
    /// rules.
    pub(crate) fn changes(&mut self, factor: f64, state: &RunState) -> RunState {
        let mut changes = RunState::default();
        if let Some((kept, mut moved)) = self.moves.take() {
            let before = state.get(kept, moved.len());
            for (index, value) in moved.iter_mut().enumerate() {
                let before = before.map_or(0.0, |before| before[index]);
                *value = before + (f64::from(*value) * factor) as f32;
            }
            changes.set(kept, moved);
        }
        if let Some(momentum) = self.momentum.take() {
            changes.set(Kept::Momentum, momentum);
        }
        changes
    }
}
