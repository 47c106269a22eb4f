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
    pub(super) fn statistical(
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

    /// A question with a certain answer: fails when `measured` is above `limit`.
    pub(super) fn at_most(name: &str, measured: f64, limit: f64) -> Self {
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
    /// Whether every part passed.
    pub passed: bool,
}
