//! The privacy that a plan asks of the device: its clip on the wire, its own noise, its limits. What goes
//! together with it is in the module `combination`.

use rand_core::Rng;
use tributary_privacy::{LocalNoise, LocalNoiseError, NoiseSource};
use tributary_proto::v1::{AnswerWindow, TrainingPlan};

use crate::state::identity::IdentityError;
use crate::state::participation::Limits;
use crate::state::randomness::{Purposes, seeded};
use crate::training::error::TrainingError;

/// How far the plan's wire clip may lie from the one that the noise needs, relatively.
const WIRE_CLIP_TOLERANCE: f64 = 0.01;

/// The part of a plan that is about privacy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Privacy {
    /// L2 norm that the encoded payload may have.
    pub(crate) wire_clip: f32,
    /// Standard deviation of the device's own noise, in clips; 0 is none.
    pub(crate) noise_multiplier: f64,
    /// Whether the coordinator wants to know if the payload was within the clip.
    pub(crate) report_within_clip: bool,
    /// When the device answers, in a run with privacy.
    pub(crate) answer_window: Option<AnswerWindow>,
    /// How often the device may take part.
    pub(crate) limits: Limits,
}

impl Privacy {
    /// Reads the fields of a plan and checks their ranges.
    pub(crate) fn read(plan: &TrainingPlan) -> Result<Self, TrainingError> {
        let multiplier = plan.local_noise_multiplier;
        if !(multiplier.is_finite() && multiplier >= 0.0) {
            let problem = format!("must be finite and at least 0, got {multiplier}");
            return Err(TrainingError::plan("local_noise_multiplier", problem));
        }
        let wire_clip = if plan.wire_clip == 0.0 && multiplier == 0.0 {
            plan.clip
        } else {
            plan.wire_clip
        };
        if multiplier == 0.0 && wire_clip != plan.clip {
            let problem = "must be 0 or the clip where the device adds no noise";
            return Err(TrainingError::plan("wire_clip", problem));
        }
        let answer_window = plan.answer_window;
        if answer_window.is_some_and(|window| window.from_ms > window.until_ms) {
            return Err(TrainingError::plan(
                "answer_window",
                "must not end before it begins",
            ));
        }
        let limits = plan.participation.as_ref();
        Ok(Self {
            answer_window,
            wire_clip,
            noise_multiplier: multiplier,
            report_within_clip: plan.report_within_clip,
            limits: limits.map(Limits::from).unwrap_or_default(),
        })
    }

    /// Whether the device adds noise of its own.
    pub(crate) fn is_noised(&self) -> bool {
        self.noise_multiplier > 0.0
    }

    /// Refuses noise from a seed that the coordinator knows, unless all of it is a simulation.
    pub(crate) fn check_seed(&self, seed: &[u8], simulated: bool) -> Result<(), TrainingError> {
        if !self.is_noised() || simulated || seed.is_empty() {
            return Ok(());
        }
        let problem = "must be empty under local noise: noise that the coordinator can work out \
                       protects nothing";
        Err(TrainingError::plan("simulation_seed", problem))
    }

    /// The device's own noise for payloads of `dimension` values; `None` where there is none.
    pub(crate) fn noise(
        &self,
        clip: f32,
        dimension: usize,
    ) -> Result<Option<LocalNoise>, TrainingError> {
        if !self.is_noised() {
            return Ok(None);
        }
        let noise = LocalNoise::new(clip, dimension, self.noise_multiplier).map_err(unfit)?;
        let needed = f64::from(noise.wire_clip());
        // written so that NaN fails
        let is_near = (f64::from(self.wire_clip) - needed).abs() <= WIRE_CLIP_TOLERANCE * needed;
        if is_near {
            return Ok(Some(noise));
        }
        let problem = format!(
            "is {}, but {dimension} noised values need {needed} (within 1 %)",
            self.wire_clip
        );
        Err(TrainingError::plan("wire_clip", problem))
    }
}

fn unfit(error: LocalNoiseError) -> TrainingError {
    let field = match error {
        LocalNoiseError::Grid(_) => "clip",
        LocalNoiseError::WireClipTooLarge { .. } => "wire_clip",
        _ => "local_noise_multiplier",
    };
    TrainingError::plan(field, format!("can't be followed: {error}"))
}

/// The key of one noised update: from the operating system, or from a simulation's seed with run,
/// round and attempt.
pub(crate) fn noise_source(
    seed: &[u8],
    run_id: &str,
    round: u32,
    attempt: u32,
    device: &str,
) -> Result<NoiseSource, IdentityError> {
    if seed.is_empty() {
        return NoiseSource::from_os().map_err(|_| IdentityError::NoRandomness);
    }
    let number = u64::from(round) << 32 | u64::from(attempt);
    let mut key = [0; 32];
    seeded(seed, run_id, number, device, Purposes::LocalNoise).fill_bytes(&mut key);
    Ok(NoiseSource::seeded(key))
}

#[cfg(test)]
#[path = "privacy_tests.rs"]
mod tests;
