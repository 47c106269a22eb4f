//! What is sent of a training, by algorithm, and the state that moves once it was counted.
//!
//! With delta = trained - start, tau the number of steps, n the number of examples, F the mean loss
//! of the assigned model on them, C the clip and L = 1 / learning rate, the payload is:
//!
//! | plan | payload | weight | work |
//! |---|---|---|---|
//! | FedAvg, FedProx, FedDyn, Ditto, APFL, IFCA | delta | - | - |
//! | FedPer, FedRep | delta of the shared parameters in their order | - | - |
//! | SCAFFOLD | delta, then the change of the control variate | - | - |
//! | FedNova | delta / tau | - | weight x tau |
//! | q-FedAvg | s p, p = F^q x delta clipped to C | s h, h = F^q + q F^(q-1) L norm^2 | - |
//! | momentum b | m = b m + (1 - b) delta | - | - |
//!
//! The whole payload is clipped to C. With a cap on examples it is then multiplied by its weight,
//! min(n, cap) / cap rounded to units. Weights and work travel in units of 2^-20; a weight of 0
//! stands for 1.
//!
//! q-FedAvg's s is the largest number up to 1 with |s p| <= C and s h <= 2^20, the coordinator's
//! largest weight. Clipping p alone would leave h at its full value, and a device with a large loss
//! would pull the quotient sum(s p) / sum(s h) less than one with a small loss. Scaled together, it
//! is a whole device with its own step p / h that counts s times. s is a little smaller still where
//! s h would not be a whole number of units.

use tributary_aggregator::{MAX_WEIGHT, WEIGHT_ONE};
use tributary_model::{LocalAlgorithm, QFedAvgShare, feddyn_gradient_change, scaffold_change};
use tributary_privacy::{VectorError, clip_l2};

use crate::state::memory::{Kept, RunState};
use crate::training::error::TrainingError;
use crate::training::local::selected;
use crate::training::plan::LocalPlan;

/// How far below the clip a scaled payload stays, relatively: more than rounding to `f32` and the
/// margin of the clip add.
const MARGIN: f64 = 1.0 / (1u64 << 20) as f64;

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
    /// Whether its norm was at most the clip so far; known after [`Payload::clip`].
    pub(crate) within_clip: bool,
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
            within_clip: true,
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
                payload.work = if weight == 0 { WEIGHT_ONE } else { weight }.saturating_mul(steps);
            }
            LocalAlgorithm::QFedAvg { q } => {
                let report = clip_l2(&mut delta, plan.clip)?;
                payload.within_clip = report.norm <= f64::from(plan.clip);
                let norm = report.norm * report.factor;
                let part = QFedAvgShare::new(q, self.loss, norm, rate);
                let (factor, weight) = fair_share(part, norm, plan.clip)?;
                let scaled = |value: f32| (f64::from(value) * factor) as f32;
                delta.iter_mut().for_each(|value| *value = scaled(*value));
                payload.weight = weight;
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

/// s F^q and s h in units of 2^-20, from 1 to [`MAX_WEIGHT`], of a delta whose L2 norm is `norm`; see
/// the module.
fn fair_share(part: QFedAvgShare, norm: f64, clip: f32) -> Result<(f64, u64), TrainingError> {
    let length = part.factor * norm;
    let whole = part.weight * WEIGHT_ONE as f64;
    if !(length.is_finite() && whole.is_finite()) {
        return Err(TrainingError::Plan {
            field: "algorithm.q",
            problem: "gives this device's loss an infinite weight".to_owned(),
        });
    }
    // with a length of zero there is nothing to clip: the quotient is infinite
    let within = f64::from(clip) * (1.0 - MARGIN) / length;
    let share = (MAX_WEIGHT as f64 / whole).min(within).min(1.0);
    let units = ((share * whole) as u64).clamp(1, MAX_WEIGHT);
    let share = share.min(units as f64 / whole);
    Ok((share * part.factor, units))
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
    /// A payload of so many values with nothing in it, that moves nothing.
    pub(crate) fn zeros(length: usize) -> Self {
        Self {
            values: vec![0.0; length],
            weight: 0,
            work: 0,
            share: 1.0,
            within_clip: true,
            moves: None,
            momentum: None,
        }
    }

    /// Clips the payload to `clip` and multiplies it by its share of examples; returns the factor
    /// of the clipping.
    pub(crate) fn clip(&mut self, clip: f32) -> Result<f64, VectorError> {
        let report = clip_l2(&mut self.values, clip)?;
        // by the norm, not the factor: a vector just as long as the clip is shortened by a hair
        self.within_clip &= report.norm <= f64::from(clip);
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

#[cfg(test)]
#[path = "payload_tests.rs"]
mod tests;
