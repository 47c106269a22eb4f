//! Rounds, local training and server optimiser of a run.

use serde::{Deserialize, Serialize};
use tributary_aggregator::ServerOptimiser;
use tributary_model::{LocalAlgorithm, Personalisation};

/// How many rounds, of how many devices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundSpec {
    /// Rounds to publish, 1 to 100,000.
    pub count: u32,
    /// Contributions planned per round: the goal, and under privacy the denominator of the mean.
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
    /// Milliseconds that a device lets pass, by its own clock, between two rounds of this run that it
    /// takes part in; 0 is no pause. It gives an assignment back that comes too early.
    #[serde(default, skip_serializing_if = "no_pause")]
    pub min_interval_ms: u64,
    /// Makes rounds buffers (FedBuff): a device that was asked in round t may still be counted up to
    /// so many rounds later, with weight 1 / sqrt(1 + staleness). Absent or 0: rounds don't overlap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staleness_cap: Option<u32>,
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

    /// Rounds that one device may be in at the most.
    pub fn needed_participations(&self) -> u32 {
        self.participations_in(self.count)
    }

    /// Of `count` rounds in a row, those that one device may be in at the most.
    pub fn participations_in(&self, count: u32) -> u32 {
        count
            .div_ceil(self.min_separation)
            .min(self.max_participations)
    }

    /// Rounds that an update may be late.
    pub fn staleness_cap(&self) -> u32 {
        self.staleness_cap.unwrap_or(0)
    }

    /// Devices to ask in a round; those at work at a time when rounds are buffers.
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
    /// How the payload travels, for example `f32`, `int8`, `topk:0.01`, `eden:4+zstd`.
    #[serde(default = "default_codec")]
    pub codec: String,
    /// Most optimiser steps of a device in a round; 0 when the epochs alone decide.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub max_steps: u32,
    /// Momentum of a device's own updates from round to round, in [0, 1).
    #[serde(default, skip_serializing_if = "is_none")]
    pub momentum: f32,
    /// How the local objective is corrected.
    #[serde(default, skip_serializing_if = "is_plain")]
    pub algorithm: LocalAlgorithm,
    /// What stays on the device, or differs by region or cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personalisation: Option<Personalisation>,
    /// Weights updates by their number of examples, up to this many. Absent: all alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples_cap: Option<u64>,
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

fn no_pause(value: &u64) -> bool {
    *value == 0
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

fn is_none(value: &f32) -> bool {
    *value == 0.0
}

fn is_plain(value: &LocalAlgorithm) -> bool {
    *value == LocalAlgorithm::FedAvg
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
