//! What an audit found, as data.

use serde::{Deserialize, Serialize};

/// One question with its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What was asked, in a few words; stable.
    pub name: String,
    /// The number that was measured.
    pub measured: f64,
    /// What it should be, or may be at most.
    pub expected: f64,
    /// Probability of a number as far off under a right build; none where nothing is left to chance.
    pub p_value: Option<f64>,
    /// Whether the answer is as it should be.
    pub passed: bool,
}

impl Check {
    /// A question of chance: fails when the p-value is below `threshold`.
    pub fn statistical(
        name: &str,
        measured: f64,
        expected: f64,
        p_value: f64,
        threshold: f64,
    ) -> Self {
        Self {
            name: name.to_owned(),
            measured,
            expected,
            p_value: Some(p_value),
            // a p-value that is no number is no pass
            passed: p_value >= threshold,
        }
    }

    /// A question with a certain answer: fails when `measured` is below `limit` by more than 10^-5 of
    /// it. Noise is rounded up to whole grid steps, which makes a charge that much smaller.
    pub fn at_least(name: &str, measured: f64, limit: f64) -> Self {
        Self {
            name: name.to_owned(),
            measured,
            expected: limit,
            p_value: None,
            passed: measured >= limit * (1.0 - 1e-5),
        }
    }

    /// A question with a certain answer: fails when `measured` is above `limit`.
    pub fn at_most(name: &str, measured: f64, limit: f64) -> Self {
        Self {
            name: name.to_owned(),
            measured,
            expected: limit,
            p_value: None,
            passed: measured <= limit,
        }
    }
}

/// The law of one mechanism's noise, measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoiseOutcome {
    /// The mechanism.
    pub mechanism: String,
    /// What its noise should be, in words.
    pub law: String,
    /// Devices per round.
    pub devices: usize,
    /// Parameters of the model.
    pub parameters: usize,
    /// Values of noise that were measured, all rounds together.
    pub samples: usize,
    /// Each round by itself.
    pub rounds: Vec<NoiseRound>,
    /// The questions.
    pub checks: Vec<Check>,
    /// Probability that a right build fails here.
    pub false_alarm: f64,
    /// A noise that is too small by this share is noticed in one of two audits; smaller ones less often.
    pub noticed_share: f64,
    /// Standardised noise, for the histogram.
    pub histogram: Vec<Bin>,
    /// Quantiles of the standardised noise, for the quantile plot.
    pub quantiles: Vec<QuantilePair>,
    /// Whether all checks passed.
    pub passed: bool,
}

/// Noise of one round, in units of sigma^2.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoiseRound {
    /// The round, from 1.
    pub round: u32,
    /// Variance of what was added.
    pub variance: f64,
    /// What it should be.
    pub predicted: f64,
    /// Variance of what was added in all rounds so far: the noise in the model itself.
    pub running_variance: f64,
    /// What it should be.
    pub running_predicted: f64,
}

/// One bar of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Left edge in standard deviations.
    pub from: f64,
    /// Right edge.
    pub to: f64,
    /// Share of the sample per standard deviation.
    pub density: f64,
    /// The same by the law.
    pub expected: f64,
}

/// A quantile of the law and of the sample, in standard deviations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantilePair {
    /// Of the law.
    pub expected: f64,
    /// Of the sample.
    pub measured: f64,
}

/// What one device changes, measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SensitivityOutcome {
    /// Devices per round.
    pub devices: usize,
    /// Parameters of the model.
    pub parameters: usize,
    /// The bound B / S, in clips.
    pub bound: f64,
    /// Largest error of a distance from rounding of the released weights, in clips.
    pub rounding: f64,
    /// The cases.
    pub cases: Vec<SensitivityCase>,
    /// Whether all cases passed.
    pub passed: bool,
}

/// Two runs with the same noise that differ in one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SensitivityCase {
    /// What the device does, compared with its absence.
    pub name: String,
    /// Rounds in which it was counted.
    pub counted: u32,
    /// Rounds.
    pub rounds: u32,
    /// Largest L2 distance of the releases of any round, times cohort / clip.
    pub distance: f64,
    /// What the distance may be at most.
    pub limit: f64,
    /// What should happen, in words.
    pub expected: String,
    /// Whether it did.
    pub passed: bool,
}

/// What an attacker learnt about single devices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CanaryOutcome {
    /// Canary devices, each included by a coin.
    pub canaries: usize,
    /// Rounds that every included one takes part in.
    pub rounds: u32,
    /// Delta of every epsilon here.
    pub delta: f64,
    /// Confidence of every lower bound.
    pub confidence: f64,
    /// Epsilon that the ledger states for the run with the claimed noise.
    pub claimed: f64,
    /// The same by the exact curve of the Gaussian mechanism.
    pub claimed_gaussian: f64,
    /// The attacks.
    pub runs: Vec<CanaryRun>,
    /// Median bound of the same attack on simulated noise of exactly the claimed size.
    pub simulated_bound: f64,
    /// Share of simulated attacks whose bound is above the claim: how often a right build fails.
    pub simulated_above: f64,
    /// Simulated attacks.
    pub simulations: usize,
    /// Whether every attack came out as it should.
    pub passed: bool,
}

/// One attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CanaryRun {
    /// What its noise was.
    pub name: String,
    /// z of the run; 0 without noise.
    pub noise_multiplier: f64,
    /// Guesses made; the number with the best bound among those fixed before.
    pub guesses: usize,
    /// Right ones.
    pub correct: usize,
    /// Lower bound on epsilon.
    pub bound: f64,
    /// Epsilon of Gaussian noise that fits the scores: an estimate; none when it can't be counted.
    pub estimate: Option<f64>,
    /// Whether the attack must refute the claim; else it must not.
    pub must_be_refuted: bool,
    /// The scores.
    pub scores: Vec<CanaryScore>,
    /// Whether it came out as it should.
    pub passed: bool,
}

/// How much of a canary's direction was released.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CanaryScore {
    /// Whether it took part.
    pub included: bool,
    /// Its score, in units of the weights.
    pub score: f64,
}

/// Clips that found their way, or did not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdaptiveOutcome {
    /// Devices per round, the one that shows the clip included.
    pub devices: usize,
    /// Share of the updates that should be within the clip.
    pub quantile: f64,
    /// Step of the clip's logarithm.
    pub learning_rate: f64,
    /// The clip that the quantile asks for, in median norms.
    pub target: f64,
    /// Largest distance of the last clips' mean logarithm from the target's.
    pub tolerance: f64,
    /// Probability that a right build fails one statistical check here.
    pub false_alarm: f64,
    /// From each start.
    pub runs: Vec<AdaptiveRun>,
    /// Whether all of them passed.
    pub passed: bool,
}

/// The clips of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdaptiveRun {
    /// The first clip, in median norms.
    pub start: f64,
    /// Rounds that move the clip and release nothing else; 0 when all rounds do both.
    pub estimation_rounds: u32,
    /// The clip of each round, in median norms, read off what the devices sent.
    pub clips: Vec<f64>,
    /// The clip after so many rounds by the field's default rule from the same start.
    pub field_clips: Vec<f64>,
    /// The questions.
    pub checks: Vec<Check>,
    /// Whether all checks passed.
    pub passed: bool,
}

/// The field's default (Flower 1.41's rules, re-derived) on the same inputs, beside ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldOutcome {
    /// Devices of the round.
    pub devices: usize,
    /// Examples of the device that is left out; all others hold one.
    pub examples: usize,
    /// z that was asked for.
    pub noise_multiplier: f64,
    /// Rounds.
    pub rounds: u32,
    /// Delta of every epsilon here.
    pub delta: f64,
    /// How far leaving the device out moves our mean, times cohort / clip.
    pub our_change: f64,
    /// How far it moves theirs.
    pub field_change: f64,
    /// Noise over change, ours.
    pub our_multiplier: f64,
    /// Noise over change, theirs.
    pub field_multiplier: f64,
    /// Epsilon of that, ours.
    pub our_epsilon: f64,
    /// Epsilon of that, theirs.
    pub field_epsilon: f64,
    /// Noise over z times the clip that updates were clipped to, in their worst round of part 4: their
    /// noise follows the clip that was just updated. Ours is 1. None when the recipe leaves part 4 out.
    pub field_clip_ratio: Option<f64>,
}

/// What an audit found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditOutcome {
    /// Title of the recipe.
    pub title: String,
    /// Its description.
    pub description: String,
    /// Part 1.
    pub noise: Vec<NoiseOutcome>,
    /// Part 2.
    pub sensitivity: SensitivityOutcome,
    /// Part 3.
    pub canaries: CanaryOutcome,
    /// Part 4; none when the recipe leaves it out.
    pub adaptive: Option<AdaptiveOutcome>,
    /// Part 5, no verdict.
    pub field: FieldOutcome,
    /// Whether every part passed.
    pub passed: bool,
}
