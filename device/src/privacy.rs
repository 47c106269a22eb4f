//! The privacy that a plan asks of the device: its clip on the wire, its own noise, its limits.
//!
//! Under local noise the coordinator is not trusted, so nothing may leave that was not noised. That
//! rules out, besides the combinations of the module `plan`:
//!
//! | refused | because |
//! |---|---|
//! | codec `topk` | the residual keeps what was not noised, and sends it later |
//! | `scaffold`, `feddyn` | the device's state would mirror an update that nobody received |
//! | `fednova`, `qfedavg`, `examples_cap` | weight and work would tell the number of examples or the loss |
//! | `momentum` | one round's update would be sent again in all rounds after it |
//! | `ifca` | the header would tell which cluster fits the data |
//! | `report_within_clip` | it would tell the length of the update |
//! | a seed, on a real device | the coordinator could work out the noise and subtract it |
//!
//! Under local noise, and in every run whose plan has an answer window, a device answers whatever its data
//! are: see the module `in_time`. Nothing of the answer's length or header may tell of the data then: no
//! compressed or varying codec, no weight, no cluster.

use rand_core::Rng;
use tributary_model::{LocalAlgorithm, Personalisation};
use tributary_privacy::{LocalNoise, LocalNoiseError, NoiseSource};
use tributary_proto::RunId;
use tributary_proto::v1::{AnswerWindow, TrainingPlan};

use crate::identity::IdentityError;
use crate::participation::Limits;
use crate::plan::{LocalPlan, wrong};
use crate::randomness::{Purposes, seeded};
use crate::training::TrainingError;

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
            return Err(wrong("local_noise_multiplier", problem));
        }
        let wire_clip = if plan.wire_clip == 0.0 && multiplier == 0.0 {
            plan.clip
        } else {
            plan.wire_clip
        };
        if multiplier == 0.0 && wire_clip != plan.clip {
            let problem = "must be 0 or the clip where the device adds no noise";
            return Err(wrong("wire_clip", problem));
        }
        let answer_window = plan.answer_window;
        if answer_window.is_some_and(|window| window.from_ms > window.until_ms) {
            return Err(wrong("answer_window", "must not end before it begins"));
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

    /// Refuses what does not go with the device's own noise, and a run that no record can name.
    pub(crate) fn check(&self, plan: &LocalPlan, run_id: &str) -> Result<(), TrainingError> {
        let is_recorded = self.limits.is_limited() || self.is_noised();
        if is_recorded && run_id.parse::<RunId>().is_err() {
            let problem = "needs a record, and the run's id can't name one: use 1 to 64 characters";
            return Err(wrong("participation", problem));
        }
        if !self.is_noised() {
            return if plan.is_private() {
                check_form(plan)
            } else {
                Ok(())
            };
        }
        if plan.codec.scheme().is_sparse() {
            let problem = "does not go with local noise: topk would keep what was not noised and \
                           send it later; use int8";
            return Err(wrong("codec", problem));
        }
        match plan.algorithm {
            LocalAlgorithm::FedAvg | LocalAlgorithm::FedProx { .. } => {}
            other => {
                let problem = format!(
                    "{} does not go with local noise: its state or its weight would go beside the \
                     noise; use fedavg or fedprox",
                    other.name()
                );
                return Err(wrong("algorithm", problem));
            }
        }
        let problem = "does not go with local noise, ";
        let refuse = |field, because| Err(wrong(field, format!("{problem}{because}")));
        if plan.momentum > 0.0 {
            return refuse("momentum", "which would cover one round's update in many");
        }
        if plan.examples_cap > 0 {
            return refuse(
                "examples_cap",
                "for the weight tells the number of examples",
            );
        }
        if self.report_within_clip {
            return refuse("report_within_clip", "for it tells the update's length");
        }
        if matches!(plan.personalisation, Some(Personalisation::Ifca { .. })) {
            return refuse("personalisation", "for ifca's cluster tells of the data");
        }
        check_form(plan)
    }

    /// Refuses noise from a seed that the coordinator knows, unless all of it is a simulation.
    pub(crate) fn check_seed(&self, seed: &[u8], simulated: bool) -> Result<(), TrainingError> {
        if !self.is_noised() || simulated || seed.is_empty() {
            return Ok(());
        }
        let problem = "must be empty under local noise: noise that the coordinator can work out \
                       protects nothing";
        Err(wrong("simulation_seed", problem))
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
        Err(wrong("wire_clip", problem))
    }
}

/// Refuses what would tell of the data by the length or the header of an answer.
fn check_form(plan: &LocalPlan) -> Result<(), TrainingError> {
    if plan.codec.of_fixed_length() != Some(plan.codec) {
        let problem = format!(
            "is {}, whose length tells of the update: use a codec without +zstd, and topk-fixed for topk",
            plan.codec
        );
        return Err(wrong("codec", problem));
    }
    if let LocalAlgorithm::FedNova | LocalAlgorithm::QFedAvg { .. } = plan.algorithm {
        let problem = format!(
            "{} does not go with privacy: its weight would tell of the data; use fedavg or fedprox",
            plan.algorithm.name()
        );
        return Err(wrong("algorithm", problem));
    }
    if matches!(plan.personalisation, Some(Personalisation::Ifca { .. })) {
        let problem = "does not go with privacy, for ifca's cluster tells of the data";
        return Err(wrong("personalisation", problem));
    }
    Ok(())
}

fn unfit(error: LocalNoiseError) -> TrainingError {
    let field = match error {
        LocalNoiseError::Grid(_) => "clip",
        LocalNoiseError::WireClipTooLarge { .. } => "wire_clip",
        _ => "local_noise_multiplier",
    };
    wrong(field, format!("can't be followed: {error}"))
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
