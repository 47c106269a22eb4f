//! What happens to a run, and what must be done about it.

use serde::{Deserialize, Serialize};
use tributary_model::Digest;
use tributary_proto::DeviceId;

use super::{DropReason, Mark, Signs};

/// One device's order in a round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// The device.
    pub device: DeviceId,
    /// Its region, as an index into the run's list.
    pub region: usize,
}

/// Contributions of one region that are summed and durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Index of the region.
    pub region: usize,
    /// The cluster whose model they trained; 0 where there is one model.
    #[serde(default)]
    pub cluster: usize,
    /// Digest of the blob: a partial sum, or under a robust rule one device's update.
    pub digest: Digest,
    /// True when random bytes are behind it, so that its digest confirms no guess of it; not in records
    /// of before that.
    #[serde(default)]
    pub salted: bool,
    /// Who is in it.
    pub contributors: Vec<DeviceId>,
    /// By what their updates are recognised, in the same order; empty where that is not known.
    #[serde(default, rename = "updates", skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
    /// Bytes of updates that came in for it.
    pub bytes_up: u64,
}

/// Why collection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// As many contributions as were planned.
    GoalMet,
    /// Every assigned device answered.
    AllAnswered,
    /// The deadline passed.
    Deadline,
}

/// Devices that came back after a start of the coordinator, fewer than were waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unheard {
    /// Those that showed what they had answered, or had nothing to show.
    pub heard: u64,
    /// Those that were waited for.
    pub wanted: u64,
}

impl std::fmt::Display for Unheard {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { heard, wanted } = self;
        write!(
            formatter,
            "{heard} of the {wanted} devices that were waited for came back after a start of the \
             coordinator and showed what they had answered"
        )
    }
}

/// A fact about a run. Stored before its effects run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Devices were chosen for the open round. Several of these may make up a selection.
    Selected {
        /// The round.
        round: u32,
        /// The devices.
        devices: Vec<Assigned>,
        /// When their leases end, in milliseconds of service time.
        lease_until_ms: u64,
        /// True on the last part of a selection.
        complete: bool,
        /// zCDP of the device of the run that spent most, when devices are charged for being asked; else
        /// 0. In units of 1e-12.
        #[serde(default)]
        worst_pico_rho: u64,
        /// The start of the coordinator in which they were chosen; 0 in events of before that was noted.
        #[serde(default)]
        incarnation: u64,
    },
    /// Devices gave their assignment up, or their lease ended.
    Dropped {
        /// The round.
        round: u32,
        /// The devices.
        devices: Vec<DeviceId>,
        /// Why; under privacy not stated where their data may be behind it.
        #[serde(default)]
        reason: DropReason,
    },
    /// A partial sum is durable; its contributors are counted.
    Sealed {
        /// The round.
        round: u32,
        /// The segment.
        segment: Segment,
    },
    /// Collection is over: nothing more is admitted.
    Closed {
        /// The round.
        round: u32,
        /// Why.
        reason: CloseReason,
    },
    /// The ledger holds the round's charge.
    Charged {
        /// The round.
        round: u32,
        /// zCDP charged to a contributor, the most to any one, in units of 1e-12.
        pico_rho: u64,
        /// zCDP of the device of the run that spent most, this round included, in units of 1e-12.
        #[serde(default)]
        worst_pico_rho: u64,
    },
    /// The earlier spending of a device that is counted in the round was lost with a data folder.
    AfterLoss {
        /// The round.
        round: u32,
    },
    /// The new model version is registered.
    Published {
        /// The round.
        round: u32,
        /// Its digest.
        model: Digest,
        /// The versions of regions or clusters, where they differ.
        #[serde(default)]
        variants: Vec<Digest>,
        /// The server's control variate (SCAFFOLD).
        #[serde(default)]
        control: Option<Digest>,
        /// Digest of the server optimiser's state.
        server: Digest,
        /// Bytes of models sent for the round.
        bytes_down: u64,
        /// The clip of the rounds to come, where it moves.
        #[serde(default)]
        clip: Option<f32>,
        /// What the release says of the run's health.
        #[serde(default)]
        signs: Option<Signs>,
    },
    /// The round is given up; nothing was released and nothing charged.
    Aborted {
        /// The round.
        round: u32,
        /// Why, as a sentence.
        reason: String,
    },
    /// After a start of the coordinator the round goes on, although fewer devices have come back than it
    /// waits for.
    Unheard {
        /// The round.
        round: u32,
        /// How many.
        count: Unheard,
    },
    /// An operator stopped the run.
    Stopped,
    /// The run can't go on.
    Failed {
        /// Why, as a sentence with the remedy.
        reason: String,
    },
}

/// Something to do after an event was stored. Doing it twice is harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Choose devices for the open round.
    Select,
    /// Send the assignment to these devices.
    Offer(Vec<DeviceId>),
    /// Charge the ledger for the round.
    Charge,
    /// Add noise, divide, step the server optimiser and register the version.
    Release,
    /// Count a published round in the metrics.
    CountRound,
    /// Drop the partial sums of a round that released nothing.
    Discard(Vec<Digest>),
    /// The run is over.
    Finish,
}

impl Event {
    /// True when the round's devices are free again after it.
    pub fn ends_round(&self) -> bool {
        matches!(
            self,
            Self::Published { .. } | Self::Aborted { .. } | Self::Stopped | Self::Failed { .. }
        )
    }
}
