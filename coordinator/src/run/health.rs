//! What released values say of a run's health.
//!
//! Everything here is made of what the run released, model versions and noised means, and of its recipe: it
//! costs no privacy, and it says no more than anybody who reads the releases can work out.

use crate::engine::{RELEASES_IN_A_ROW, Signs};
use tributary_recipe::{AnswerTime, RunSpec};

/// A mean is as good as the clip from this share of it on.
const AT_CLIP: f64 = 0.9;
/// A step turns back when the cosine to the step before it is below this.
const TURNS_BACK: f64 = -0.25;
/// Deviations from what noise alone has, from which on releases hold more: either of two statistics is further
/// than this on either side in 4 x 1.6e-4 of all cases by the normal law, and for the slight skew of the norms in
/// less than 1 of 1,000.
const FROM_NOISE: f64 = 3.6;
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

/// Nothing in the last releases can be told from their noise, or they are zeros where there is none.
fn standing_still(releases: &[Signs]) -> Option<String> {
    let last = last(releases)?;
    if last.iter().all(|signs| signs.noise == Some(0.0)) {
        let is_zero = last.iter().all(|signs| signs.step == 0.0);
        return is_zero.then(|| {
            "the last released updates are all zeros: devices have nothing to change, no examples, or \
             trainings that diverge (lower training.learning_rate)"
                .to_owned()
        });
    }
    is_noise_alone(last)?.then(|| {
        "the last released updates can't be told from noise alone: devices may be too late (widen \
         privacy.answer_window_ms, or train fewer steps), their trainings may fail (lower \
         training.learning_rate), or too few of them stand against the noise (raise rounds.cohort, or \
         lower privacy.noise_multiplier)"
            .to_owned()
    })
}

/// Whether a test of the last releases keeps the hypothesis that they are noise and nothing else, independent
/// and Gaussian with deviation s on d values. None where the noise is not known.
///
/// Two statistics see a signal, each with mean 0 and deviation 1 under the hypothesis, near to normal for the
/// d of thousands with which noise is known: the squared norms over s^2, whose sum over k releases is chi-squared
/// with k d degrees of freedom; and the cosines between one release and the next, which have deviation
/// 1 / sqrt(d) and grow where updates keep a direction. It is rejected where either is further than
/// [`FROM_NOISE`] from 0, so that noise alone is not recognised in at most 1 of 1,000 cases. A signal is missed as
/// seldom where its norm is at least (8 FROM_NOISE^2 / (k d))^(1/4) of the noise's, a third with 5,000 values,
/// or a quarter where it keeps its direction.
fn is_noise_alone(last: &[Signs]) -> Option<bool> {
    let (mut excess, mut freedom, mut turning, mut turns) = (0.0, 0.0, 0.0, 0.0_f64);
    for signs in last {
        let (noise, values) = (signs.noise?, signs.values? as f64);
        if noise == 0.0 {
            return None;
        }
        excess += values * ((signs.step / noise).powi(2) - 1.0);
        freedom += values;
        if let Some(turn) = signs.turn {
            turning += turn * values.sqrt();
            turns += 1.0;
        }
    }
    let by_norm = excess / (2.0 * freedom).sqrt();
    let by_direction = turning / turns.max(1.0).sqrt();
    Some(by_norm.abs() <= FROM_NOISE && by_direction.abs() <= FROM_NOISE)
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

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::{Rng, SeedableRng};

    use super::*;
    use crate::engine::Noise;

    const VALUES: usize = 2_000;
    const DEVIATION: f64 = 0.01;

    /// Uniform in (0, 1].
    fn unit(rng: &mut ChaCha20Rng) -> f64 {
        ((rng.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    fn gaussian(rng: &mut ChaCha20Rng) -> f64 {
        let radius = (-2.0 * unit(rng).ln()).sqrt();
        radius * (std::f64::consts::TAU * unit(rng)).cos()
    }

    /// What is said after four releases whose signal is `strength` times as long as the noise.
    fn said(seed: u64, strength: f64, keeps_direction: bool) -> bool {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut direction: Vec<f64> = (0..VALUES).map(|_| gaussian(&mut rng)).collect();
        let (mut before, mut releases) = (None::<Vec<f32>>, Vec::new());
        for _ in 0..=RELEASES_IN_A_ROW {
            if !keeps_direction {
                direction
                    .iter_mut()
                    .for_each(|value| *value = gaussian(&mut rng));
            }
            let value =
                |signal: &f64| (DEVIATION * (strength * signal + gaussian(&mut rng))) as f32;
            let step: Vec<f32> = direction.iter().map(value).collect();
            let noise = Some(Noise {
                deviation: DEVIATION,
                values: VALUES,
            });
            let signs = Signs::of(&step, before.as_deref(), noise, &step, 1.0);
            Signs::keep(&mut releases, signs);
            before = Some(step);
        }
        standing_still(&releases).is_some()
    }

    #[test]
    fn noise_alone_is_told_as_such_but_in_one_of_a_thousand_cases() {
        let missed = (0..500).filter(|seed| !said(*seed, 0.0, true)).count();
        // binomial(500, 0.001): more than 4 with probability 2e-4
        assert!(missed <= 4, "{missed} of 500");
    }

    #[test]
    fn a_signal_of_less_than_half_the_noise_is_not_taken_for_noise() {
        // (8 x 3.6^2 / 6,000)^(1/4) = 0.36: missed in at most 1 of 1,000 cases whatever its direction
        let taken = |strength, keeps| (0..200).filter(|seed| said(*seed, strength, keeps)).count();
        assert!(taken(0.45, false) <= 3);
        assert!(taken(0.45, true) <= 3);
        assert!(taken(0.32, true) <= 3);
    }

    #[test]
    fn without_noise_only_zeros_stand_still_and_of_unknown_noise_nothing_is_said() {
        let release = |value: f32, noise: Option<f64>| {
            let noise = noise.map(|deviation| Noise {
                deviation,
                values: VALUES,
            });
            Signs::of(&vec![value; VALUES], None, noise, &[1.0], 1.0)
        };
        let still = standing_still(&[release(0.0, Some(0.0)); 4]).unwrap();
        assert!(
            still.contains("zeros") && !still.contains("noise"),
            "{still}"
        );
        assert_eq!(standing_still(&[release(0.1, Some(0.0)); 4]), None);
        assert_eq!(standing_still(&[release(0.0, None); 4]), None);
        // one release says nothing yet
        assert_eq!(standing_still(&[release(0.0, Some(0.0))]), None);
    }
}
