//! What released values say of a run's health.
//!
//! Everything here is made of what the run released, model versions and noised means, and of its recipe: it
//! costs no privacy, and it says no more than anybody who reads the releases can work out.

use crate::engine::{RELEASES_IN_A_ROW, Signs};
use crate::spec::{AnswerTime, RunSpec};

/// A mean is as good as the clip from this share of it on.
const AT_CLIP: f64 = 0.9;
/// A step turns back when the cosine to the step before it is below this.
const TURNS_BACK: f64 = -0.25;
/// A mean is no longer than its noise up to this factor: the norm of noise on many values hardly varies.
const NOISE_ALONE: f64 = 1.02;
/// A model has grown without bound when its norm is so many times the one that it started from.
const GROWN: f64 = 30.0;

/// What a run's releases and its recipe let one say, as sentences with a remedy.
pub fn hints(spec: &RunSpec, releases: &[Signs]) -> Vec<String> {
    let mut hints = Vec::new();
    hints.extend(standing_still(releases));
    hints.extend(diverging(releases));
    let as_trained = spec.privacy.answer_time == AnswerTime::AsTrained;
    if spec.privacy.mode.has_noise() && as_trained {
        hints.push(
            "privacy.answer_time is as-trained: when a device answers, and so who is counted, may \
             depend on how long its data take to train on"
                .to_owned(),
        );
    }
    hints
}

/// Every one of the last rounds released nothing but noise, or zeros.
fn standing_still(releases: &[Signs]) -> Option<String> {
    let last = last(releases)?;
    let is_still = |signs: &Signs| match signs.noise {
        Some(noise) => signs.step <= noise * NOISE_ALONE,
        None => false,
    };
    last.iter().all(is_still).then(|| {
        "the last released updates hold nothing beside their noise: devices have nothing to change, no \
         examples, trainings that diverge (lower training.learning_rate), or too little time \
         (privacy.answer_window_ms)"
            .to_owned()
    })
}

/// The model grows without bound, its steps undo each other at the length of the clip, or they stay at it.
fn diverging(releases: &[Signs]) -> Option<String> {
    let (first, newest) = (releases.first()?, releases.last()?);
    let remedy = "the run may diverge: lower training.learning_rate";
    // at least so long was the model that the run started from, where the mean is the step
    let start = (first.model - first.step).abs();
    if !newest.model.is_finite() || newest.model > GROWN * start.max(1.0) {
        return Some(format!(
            "the released model has grown from norm {:.1} to {:.1}; {remedy}",
            start, newest.model
        ));
    }
    let last = last(releases)?;
    let is_at_clip = |signs: &Signs| {
        signs
            .signal()
            .is_some_and(|length| length >= AT_CLIP * signs.clip)
    };
    if last.iter().all(is_at_clip) {
        return Some(format!(
            "the last released updates are all as long as the clip; {remedy}, or raise privacy.clip"
        ));
    }
    let turns = last.iter().filter_map(|signs| signs.turn);
    if turns.clone().count() == RELEASES_IN_A_ROW && turns.clone().all(|turn| turn < TURNS_BACK) {
        return Some(format!(
            "each of the last released updates takes back part of the one before; {remedy}"
        ));
    }
    None
}

/// The last releases; none before there are enough of them beside the first.
fn last(releases: &[Signs]) -> Option<&[Signs]> {
    releases.get(releases.len().checked_sub(RELEASES_IN_A_ROW)?..)
}
