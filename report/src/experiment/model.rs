//! The data of a report. Everything is in the order in which it should be shown.

use serde::{Deserialize, Serialize};

use super::Summary;
use crate::nullable;

/// Everything that the page and the files show.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Title of the page.
    pub title: String,
    /// One sentence about what was tried; may be empty.
    pub subtitle: String,
    /// The numbers of the whole run.
    pub summary: Summary,
    /// The seed of a repeatable run. Its noise can be predicted, so the page is marked NOT PRIVATE.
    pub seed: Option<u64>,
    /// All seeds, where it was repeated with several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<u64>,
    /// Stretches of rounds with a name, e.g. `training`, `retraining west`.
    pub phases: Vec<Phase>,
    /// Held-out accuracy, 0 to 1, one series per region.
    pub accuracy: Vec<RoundSeries>,
    /// Epsilon spent up to and including each round, one series per region or one for all.
    pub epsilon: Vec<RoundSeries>,
    /// What each series of `epsilon` has to be read with, in the same order.
    #[serde(default)]
    pub epsilon_conditions: Vec<Conditions>,
    /// Epsilon that must not be passed.
    pub epsilon_cap: Option<f64>,
    /// Drift statistics, one point per region, quantity, and window.
    pub drift: Vec<DriftPoint>,
    /// Bytes moved in each round, all regions together, variant after variant.
    pub wire: Vec<WirePoint>,
    /// What happened when.
    pub events: Vec<Event>,
    /// Privacy charges by kind.
    pub ledger: Vec<LedgerLine>,
    /// How to repeat and judge the run: command, versions, machine, data.
    pub facts: Vec<Fact>,
}

/// A named stretch of rounds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// Name, e.g. `retraining west`.
    pub name: String,
    /// First round, counted from 1.
    pub first_round: u64,
    /// Last round, included.
    pub last_round: u64,
}

/// What an epsilon has to be read with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// Its delta.
    #[serde(with = "nullable")]
    pub delta: f64,
    /// Which fleets count as neighbours, e.g. `zero-out-one-device`.
    pub adjacency: String,
    /// The noise.
    pub mechanism: String,
}

/// Values by round.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RoundSeries {
    /// What was tried, where several things are compared; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// Region; empty for all together.
    pub region: String,
    /// Points by rising round. Two points of the same round draw a vertical step, e.g. the accuracy
    /// before and after drift set in.
    pub points: Vec<RoundPoint>,
}

impl RoundSeries {
    /// What tells the series apart, in words.
    pub fn label(&self) -> String {
        match (self.variant.as_str(), self.region.as_str()) {
            ("", region) => region.to_owned(),
            (variant, "") => variant.to_owned(),
            (variant, region) => format!("{variant}, {region}"),
        }
    }

    /// Whether it ends in a value that can be shown.
    pub fn is_shown(&self) -> bool {
        self.points
            .last()
            .is_some_and(|last| last.value.is_finite())
    }
}

/// One value of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RoundPoint {
    /// Round; 0 is the state before the first.
    pub round: u64,
    /// The value; NaN leaves a gap.
    #[serde(with = "nullable")]
    pub value: f64,
}

impl RoundPoint {
    /// A point.
    pub fn new(round: u64, value: f64) -> RoundPoint {
        RoundPoint { round, value }
    }
}

/// One drift test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DriftPoint {
    /// Region tested.
    pub region: String,
    /// Quantity tested, e.g. `confidence`.
    pub quantity: String,
    /// Window number.
    pub window: u64,
    /// The statistic; NaN when there was not enough data.
    #[serde(with = "nullable")]
    pub statistic: f64,
    /// The value above which the test calls drift; positive.
    #[serde(with = "nullable")]
    pub threshold: f64,
    /// The region's verdict after this window.
    pub verdict: Verdict,
}

/// What the monitor says about a region after a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The reference is still being collected.
    WarmUp,
    /// Too few devices reported to say anything.
    #[default]
    InsufficientData,
    /// Nothing unusual.
    Ok,
    /// Unusual, not yet drift.
    Warning,
    /// The distribution moved.
    Drift,
    /// A playbook is running.
    Mitigating,
    /// The result of a playbook is being checked.
    Validating,
    /// Waiting before testing again.
    Cooldown,
}

impl Verdict {
    /// The verdict in words.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::WarmUp => "warm-up",
            Verdict::InsufficientData => "insufficient data",
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Drift => "drift",
            Verdict::Mitigating => "mitigating",
            Verdict::Validating => "validating",
            Verdict::Cooldown => "cooldown",
        }
    }
}

/// Bytes moved in a round.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WirePoint {
    /// What was tried, where several things are compared; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// Round.
    pub round: u64,
    /// Bytes from the coordinator to devices.
    pub down: u64,
    /// Bytes from devices to the coordinator.
    pub up: u64,
}

/// Something that happened, marked in the plots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What kind of thing.
    pub kind: EventKind,
    /// Where; empty for everywhere.
    pub region: String,
    /// Last finished round at that time; marks the plots by round.
    pub round: Option<u64>,
    /// Drift window at that time; marks the plot by window.
    pub window: Option<u64>,
    /// A few words instead of the kind's own; may be empty.
    pub label: String,
}

impl Event {
    /// The label, or the kind and region in words.
    pub fn text(&self) -> String {
        match (self.label.as_str(), self.region.as_str()) {
            ("", "") => self.kind.name().to_owned(),
            ("", region) => format!("{} in {region}", self.kind.name()),
            (label, _) => label.to_owned(),
        }
    }
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// The experiment changed a region's data.
    DriftInjected,
    /// The monitor called drift.
    DriftDetected,
    /// The region works again.
    Recovered,
    /// Anything else.
    #[default]
    Note,
}

impl EventKind {
    /// The kind in words.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::DriftInjected => "drift injected",
            EventKind::DriftDetected => "drift detected",
            EventKind::Recovered => "recovered",
            EventKind::Note => "note",
        }
    }
}

/// Privacy charges of one kind, as the most charged device sees them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LedgerLine {
    /// Kind of release, e.g. `training round`, `drift window`.
    pub kind: String,
    /// Region charged; empty for all.
    pub region: String,
    /// Releases charged.
    pub charges: u64,
    /// Charges that count against one device at most.
    pub charges_per_device: u64,
    /// zCDP spent on one device at most; not finite without noise, where nothing bounds it.
    #[serde(with = "nullable")]
    pub rho: f64,
    /// Which fleets count as neighbours, e.g. `zero-out-one-device`.
    #[serde(default)]
    pub adjacency: String,
    /// The noise.
    #[serde(default)]
    pub mechanism: String,
}

/// A line of the provenance table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}
