//! The state of a run: what the engine knows, and nothing that can be derived from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tributary_model::{Digest, Marks, Personalisation};
use tributary_privacy::ftrl::Strategy;
use tributary_proto::{DeviceId, RunId};

use super::{DropReason, Mark, MarkKey, Participation, Segment, Signs, Unheard};
use crate::lineage::{Lineage, Place};
use tributary_recipe::RunSpec;

/// Whether a run goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Rounds are going on.
    Running,
    /// All rounds were published.
    Completed,
    /// An operator stopped it.
    Stopped,
    /// It can't go on.
    Failed(String),
}

/// Where the open round stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Devices are being chosen.
    Selecting,
    /// Devices train and upload.
    Collecting,
    /// Nothing more is admitted; the ledger is being charged.
    Sealing,
    /// Charged; noise, division and optimiser step are under way.
    Releasing,
}

/// Where an assignment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssignmentState {
    /// The device has not answered yet.
    Waiting,
    /// Its contribution is in a sealed segment.
    Counted,
    /// It gave up, or its lease ended.
    Dropped,
}

/// One device's place in the open round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Index of its region.
    pub region: usize,
    /// The round whose model it was given.
    pub round: u32,
    /// The attempt at that round.
    pub attempt: u32,
    /// When the lease ends, in milliseconds of service time.
    pub until_ms: u64,
    /// Where it stands.
    pub state: AssignmentState,
    /// By what the device's update that was counted is recognised; none before, and where it is not
    /// known.
    #[serde(default, rename = "update", skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
}

/// The open round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundState {
    /// Its number, from 1.
    pub number: u32,
    /// How often it was begun, from 1.
    pub attempt: u32,
    /// Where it stands.
    pub phase: Phase,
    /// Its devices.
    pub leases: BTreeMap<DeviceId, Lease>,
    /// Its durable partial sums.
    pub segments: Vec<Segment>,
    /// zCDP that was charged for it, in units of 1e-12: the most to any one device.
    pub charged_pico_rho: u64,
    /// zCDP of the device of this run that spent most, this round included, in units of 1e-12.
    #[serde(default)]
    pub worst_pico_rho: u64,
    /// Assignments of this attempt that came to nothing, by reason.
    #[serde(default)]
    pub drops: BTreeMap<DropReason, u64>,
    /// True when a device in good standing was pushed back in this attempt: the next one knows better.
    #[serde(default)]
    pub learned: bool,
    /// Attempts at this round that were given up and taught nothing.
    #[serde(default)]
    pub fruitless: u32,
    /// Set when it went on after a start with fewer devices than were waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unheard: Option<Unheard>,
}

/// A round that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundRecord {
    /// Its number.
    pub number: u32,
    /// The version that it made; absent when it was aborted.
    pub model: Option<Digest>,
    /// Devices assigned.
    pub assigned: u64,
    /// Contributions counted, by region.
    pub counted: Vec<u64>,
    /// Devices that gave up.
    pub dropped: u64,
    /// Bytes of models sent.
    pub bytes_down: u64,
    /// Bytes of updates received.
    pub bytes_up: u64,
    /// Why it was aborted; empty otherwise.
    pub reason: String,
    /// zCDP of the device of this run that spent most, after this round, in units of 1e-12.
    pub worst_pico_rho: u64,
    /// The clip of this round; 0 in records of before clips could move.
    #[serde(default)]
    pub clip: f32,
    /// Assignments that came to nothing, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub drops: BTreeMap<DropReason, u64>,
    /// Set when it went on after a start with fewer devices than were waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unheard: Option<Unheard>,
}

/// Everything the engine knows of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// The run.
    pub id: RunId,
    /// What was asked for.
    pub spec: RunSpec,
    /// Random key of the run's selection; derived from the seed in a seeded run.
    pub key: [u8; 32],
    /// Random key of the open attempt's [`Mark`]s; none before the run is on disk and once it is over.
    #[serde(default)]
    pub mark_key: Option<MarkKey>,
    /// Whether it goes on.
    pub status: RunStatus,
    /// The open round; the last one when the run is over.
    pub round: RoundState,
    /// Newest model version.
    pub model: Digest,
    /// Newest versions of regions or clusters, where they differ.
    #[serde(default)]
    pub variants: Vec<Digest>,
    /// Newest control variate of the server (SCAFFOLD).
    #[serde(default)]
    pub control: Option<Digest>,
    /// Models that late updates may have been trained from, by the round that handed them out.
    #[serde(default)]
    pub earlier: BTreeMap<u32, Digest>,
    /// Newest state of the server optimiser and of correlated noise.
    pub server: Option<Digest>,
    /// How the noise of the rounds hangs together, as it was planned; none when it does not.
    #[serde(default)]
    pub strategy: Option<Strategy>,
    /// The clip of the open round, where it moved from what was asked for.
    #[serde(default)]
    pub clip: Option<f32>,
    /// What the first and the last releases say of the run's health.
    #[serde(default)]
    pub releases: Vec<Signs>,
    /// What devices have done in the run; absent for those that were never counted nor asked in vain.
    pub participations: BTreeMap<DeviceId, Participation>,
    /// Rounds that are over.
    pub history: Vec<RoundRecord>,
    /// When it was started, in milliseconds since 1970.
    pub started_ms: u64,
    /// The drift that a playbook started it for.
    pub drift_id: Option<String>,
    /// In which starts of the coordinator its devices were chosen.
    #[serde(default, skip_serializing_if = "Lineage::is_empty")]
    pub lineage: Lineage,
    /// Marks of the version that it started from.
    #[serde(default)]
    pub inherited: Marks,
    /// True when the spending of some of its devices was lost with a data folder: it is not private.
    #[serde(default)]
    pub after_loss: bool,
    /// True once the run is over and its participations name everybody whose update was ever counted, those
    /// of the last round included. Not in records of before that was done.
    #[serde(default)]
    pub keeps_last: bool,
}

impl RoundState {
    /// A round that has not begun.
    pub(super) fn open(number: u32, attempt: u32) -> Self {
        Self {
            number,
            attempt,
            phase: Phase::Selecting,
            leases: BTreeMap::new(),
            segments: Vec::new(),
            charged_pico_rho: 0,
            worst_pico_rho: 0,
            drops: BTreeMap::new(),
            learned: false,
            fruitless: 0,
            unheard: None,
        }
    }

    /// Devices in `state`.
    pub fn in_state(&self, state: AssignmentState) -> usize {
        self.leases
            .values()
            .filter(|lease| lease.state == state)
            .count()
    }

    /// Contributions counted.
    pub fn counted(&self) -> usize {
        self.segments
            .iter()
            .map(|segment| segment.contributors.len())
            .sum()
    }

    /// Contributions counted, by index of the region.
    pub fn counted_by_region(&self, regions: usize) -> Vec<u64> {
        let mut counts = vec![0; regions];
        for segment in &self.segments {
            counts[segment.region] += segment.contributors.len() as u64;
        }
        counts
    }

    /// Everybody in a sealed segment.
    pub fn contributors(&self) -> impl Iterator<Item = &DeviceId> {
        self.segments
            .iter()
            .flat_map(|segment| &segment.contributors)
    }
}

impl RunState {
    /// The open round and its attempt; the last ones when the run is over.
    pub fn place(&self) -> Place {
        Place::of_round(self.round.number, self.round.attempt)
    }

    /// A run at the start of its first round.
    pub fn new(id: RunId, spec: RunSpec, key: [u8; 32], model: Digest, started_ms: u64) -> Self {
        Self {
            id,
            spec,
            key,
            mark_key: None,
            status: RunStatus::Running,
            round: RoundState::open(1, 1),
            model,
            variants: Vec::new(),
            control: None,
            earlier: BTreeMap::new(),
            releases: Vec::new(),
            server: None,
            strategy: None,
            clip: None,
            participations: BTreeMap::new(),
            history: Vec::new(),
            started_ms,
            drift_id: None,
            lineage: Lineage::default(),
            inherited: Marks::default(),
            after_loss: false,
            keeps_last: false,
        }
    }

    /// The marks of the versions that it makes.
    pub fn marks(&self) -> Marks {
        let own = Marks {
            restored: self.after_loss,
            ..self.spec.marks()
        };
        self.inherited.and(own)
    }

    /// Devices to ask now: those at work already, from rounds before, count.
    pub fn to_select(&self) -> u32 {
        let busy = u32::try_from(self.round.leases.len()).unwrap_or(u32::MAX);
        self.spec.rounds.to_select().saturating_sub(busy)
    }

    /// The versions that a device of `region`, asked in `round`, may have trained from.
    pub fn models_of(&self, round: u32, region: usize) -> &[Digest] {
        if round < self.round.number {
            return self.earlier.get(&round).map_or(&[], std::slice::from_ref);
        }
        match &self.spec.training.personalisation {
            Some(Personalisation::RegionHeads { .. }) => {
                let own = self.variants.get(region);
                own.map_or(std::slice::from_ref(&self.model), std::slice::from_ref)
            }
            Some(Personalisation::Ifca { .. }) if !self.variants.is_empty() => &self.variants,
            _ => std::slice::from_ref(&self.model),
        }
    }

    /// The clip of the open round.
    pub fn clip(&self) -> f32 {
        self.clip.unwrap_or(self.spec.privacy.clip)
    }

    /// True while the open round only estimates the clip.
    pub fn is_estimating(&self) -> bool {
        self.round.number <= self.spec.privacy.estimation_rounds()
    }

    /// How many rounds late an update of `round` is.
    pub fn staleness(&self, round: u32) -> u32 {
        self.round.number.saturating_sub(round)
    }

    /// What devices fetch for the open round: its versions, and the server's control variate.
    pub fn offered(&self) -> impl Iterator<Item = Digest> {
        let versions = std::iter::once(self.model).chain(self.variants.iter().copied());
        versions.chain(self.control)
    }

    /// True while rounds go on.
    pub fn is_running(&self) -> bool {
        self.status == RunStatus::Running
    }

    /// Contributions in published rounds and the open one, by index of the region.
    pub fn contributions_by_region(&self) -> Vec<u64> {
        let mut totals = vec![0; self.spec.regions.len()];
        if self.is_running() {
            totals = self.round.counted_by_region(totals.len());
        }
        for record in self.history.iter().filter(|record| record.model.is_some()) {
            for (total, count) in totals.iter_mut().zip(&record.counted) {
                *total += count;
            }
        }
        totals
    }
}
