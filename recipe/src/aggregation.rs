//! How updates become one.

use serde::{Deserialize, Serialize};
use tributary_aggregator::{PreAggregator, RobustRule, RobustSpec};
use tributary_proto::DeviceId;

/// How updates become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AggregationMode {
    /// The mean of exact integer sums: memory does not grow with the number of devices, and noise
    /// for differential privacy can be added.
    #[default]
    Mean,
    /// A rule that bears hostile devices. It needs every update by itself, so they are kept, encoded,
    /// in the vault until the round is over.
    Robust,
}

/// The `[aggregation]` section.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AggregationSpec {
    /// `mean` or `robust`.
    #[serde(default)]
    pub mode: AggregationMode,
    /// Hostile devices to bear among the contributions of a round (f); default a fifth of
    /// `rounds.minimum`, rounded down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub byzantine: Option<u32>,
    /// What is done to the updates before the rule; default `["arc", "nnm"]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre: Option<Vec<PreAggregator>>,
    /// The rule; default the geometric median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RobustRule>,
    /// FLTrust's device with clean data: it takes part in every round, and its update is the one that
    /// others are compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted: Option<DeviceId>,
}

impl AggregationSpec {
    /// True for the plain mean.
    pub fn is_mean(&self) -> bool {
        self.mode == AggregationMode::Mean
    }

    /// The robust rule for rounds of at least `minimum` contributions; none for the mean.
    pub fn robust(&self, minimum: u32) -> Option<RobustSpec> {
        if self.is_mean() {
            return None;
        }
        let default = RobustSpec::against(self.byzantine.unwrap_or(minimum / 5));
        Some(RobustSpec {
            pre: self.pre.clone().unwrap_or(default.pre),
            rule: self.rule.unwrap_or(default.rule),
            ..default
        })
    }
}
