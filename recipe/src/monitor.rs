//! What is monitored after training, and what a drift triggers.

use serde::{Deserialize, Serialize};

use crate::privacy::PrivacySpec;
use crate::training::{RoundSpec, ServerSpec, TrainingSpec};

/// Monitoring of a trained model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriftSpec {
    /// Milliseconds between the starts of two windows.
    pub interval_ms: u64,
    /// Windows after which the monitor ends, 1 to 10^9; absent for a monitor that goes on until
    /// `tributary monitor stop`. A window that asks nobody is not counted.
    #[serde(default)]
    pub windows: Option<u64>,
    /// First windows of a region, summed to its reference.
    #[serde(default = "default_warm_up")]
    pub warm_up: u32,
    /// Milliseconds that devices have to answer a window.
    #[serde(default = "default_answer")]
    pub deadline_ms: u64,
    /// Standard deviation of the noise on each bin, in votes; 0 only under privacy mode `none`.
    pub noise_votes: f64,
    /// Fewest devices in a window that can be judged.
    #[serde(default = "default_devices")]
    pub minimum_devices: u32,
    /// Largest shift, as a population stability index, that may stay invisible to a window: with more
    /// noise or fewer devices the region can't be judged, and is not asked. 0.24 is half a standard
    /// deviation of a normal variable, 0.95 one.
    #[serde(default = "default_invisible")]
    pub max_invisible_psi: f64,
    /// Mean number of windows between two false alarms of a region.
    #[serde(default = "default_run_length")]
    pub mean_windows_between_false_alarms: f64,
    /// What devices vote on.
    pub quantities: Vec<QuantityRecipe>,
}

/// One monitored quantity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantityRecipe {
    /// `prediction`, `confidence`, or `feature:N`.
    pub source: String,
    /// Inner edges, rising. Absent for `prediction`, whose bins are the classes.
    #[serde(default)]
    pub edges: Vec<f64>,
}

/// What happens when a region drifts: it is retrained from the model that drifted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaybookSpec {
    /// Most runs that the playbook starts in one region while the monitor lives, 1 to 1,000. What
    /// drifts after them is advice to the operator.
    #[serde(default = "default_most_runs")]
    pub most_runs: u32,
    /// Rounds of the retraining.
    pub rounds: RoundSpec,
    /// What a device does in them.
    pub training: TrainingSpec,
    /// What the coordinator does in them.
    #[serde(default)]
    pub server: ServerSpec,
    /// Their clip, noise and budget.
    pub privacy: PrivacySpec,
}

/// Which builds are made: of the model that a playbook retrained for a region, or, without a playbook,
/// of the run's last model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildSpec {
    /// Widths to try, widest first, as a share of the hidden units kept; 1 is the whole model.
    #[serde(default = "default_widths")]
    pub widths: Vec<f32>,
    /// Standard deviation of the noise on each bin of the calibration histograms, in votes.
    pub calibration_noise_votes: f64,
    /// Milliseconds that devices have to install.
    #[serde(default = "default_install")]
    pub deadline_ms: u64,
}

fn default_most_runs() -> u32 {
    1
}

fn default_warm_up() -> u32 {
    4
}

fn default_answer() -> u64 {
    20_000
}

fn default_devices() -> u32 {
    100
}

fn default_invisible() -> f64 {
    1.0
}

fn default_run_length() -> f64 {
    1000.0
}

fn default_widths() -> Vec<f32> {
    vec![1.0, 0.5]
}

fn default_install() -> u64 {
    60_000
}
