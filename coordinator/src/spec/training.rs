//! Rounds, local training, server optimiser and privacy of a run.

use serde::{Deserialize, Serialize};
use tributary_aggregator::ServerOptimiser;

/// How many rounds, of how many devices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundSpec {
    /// Rounds to publish, 1 to 100,000.
    pub count: u32,
    /// Contributions planned per round: the goal, and the fixed denominator of the mean.
    pub cohort: u32,
    /// Fewest contributions that a round may release with; default half of the cohort.
    #[serde(default)]
    pub minimum: Option<u32>,
    /// Devices asked per contribution wanted, 1 to 4.
    #[serde(default = "default_over_selection")]
    pub over_selection: f64,
    /// Milliseconds from selection to the end of collection.
    #[serde(default = "default_deadline")]
    pub deadline_ms: u64,
    /// Most rounds of this run that one device may take part in (k).
    #[serde(default = "default_participations")]
    pub max_participations: u32,
    /// Fewest rounds between two participations of a device, counted from one to the next (b).
    #[serde(default = "default_separation")]
    pub min_separation: u32,
    /// Devices that must be connected before the first round; default the cohort.
    #[serde(default)]
    pub population: Option<u32>,
    /// Milliseconds that a round may wait for enough eligible devices before the run fails.
    #[serde(default = "default_selection_timeout")]
    pub selection_timeout_ms: u64,
}

impl RoundSpec {
    /// Fewest contributions that a round may release with.
    pub fn minimum(&self) -> u32 {
        self.minimum.unwrap_or(self.cohort.div_ceil(2))
    }

    /// Devices that must be connected before the first round.
    pub fn population(&self) -> u32 {
        self.population.unwrap_or(self.cohort)
    }

    /// Devices to ask in a round.
    pub fn to_select(&self) -> u32 {
        (f64::from(self.cohort) * self.over_selection).ceil() as u32
    }
}

/// What a device does in a round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSpec {
    /// Passes over the device's examples, 1 to 1,000.
    pub epochs: u32,
    /// Examples per step, 1 to 65,536.
    pub batch_size: u32,
    /// Step size of stochastic gradient descent, above 0.
    pub learning_rate: f32,
    /// How the delta travels: `f32` or `f16`.
    #[serde(default = "default_codec")]
    pub codec: String,
}

/// What the coordinator does with the mean update.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSpec {
    /// The optimiser that takes the mean delta as its negative gradient.
    #[serde(default = "default_optimiser")]
    pub optimiser: ServerOptimiser,
}

impl Default for ServerSpec {
    fn default() -> Self {
        Self {
            optimiser: default_optimiser(),
        }
    }
}

/// How a run protects its devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrivacyMode {
    /// Clip, uniform mean with a fixed denominator, discrete Gaussian noise on the integer sum.
    Dp,
    /// Clip and uniform mean without noise. No privacy is claimed.
    None,
}

/// Clip, noise and budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivacySpec {
    /// `dp` or `none`.
    pub mode: PrivacyMode,
    /// L2 norm that each weight delta is clipped to, above 0.
    pub clip: f32,
    /// Standard deviation of the noise on the sum, in units of the clip (z); 0 under `none`.
    #[serde(default)]
    pub noise_multiplier: f64,
    /// Cap on the account of any one device, over everything this coordinator charges.
    #[serde(default)]
    pub epsilon: Option<f64>,
    /// Delta at which epsilon is stated.
    #[serde(default = "default_delta")]
    pub delta: f64,
}

fn default_over_selection() -> f64 {
    1.3
}

fn default_deadline() -> u64 {
    30_000
}

fn default_participations() -> u32 {
    u32::MAX
}

fn default_separation() -> u32 {
    1
}

fn default_selection_timeout() -> u64 {
    600_000
}

fn default_codec() -> String {
    "f32".to_owned()
}

fn default_optimiser() -> ServerOptimiser {
    ServerOptimiser::FedAvg { learning_rate: 1.0 }
}

fn default_delta() -> f64 {
    1e-5
}
