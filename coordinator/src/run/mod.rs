//! One actor per run: it owns the engine's state and is the only one to change it.
//!
//! ```text
//!  Upload --admit--> actor --ok--> bytes --checked--> actor: add to the region's open partial
//!                      |                                |
//!                      |   every few tens of ms: seal   v
//!                      |      vault <- partial sums, then one commit {segments, contributors}
//!                      |      then receipts
//!                      v
//!  goal, all answered or deadline: Closed -> ledger charge + Charged (one commit)
//!      -> noise, division, optimiser step -> model blob -> Published (one commit)
//! ```
//!
//! - `actor`: commands, timers, and the order of things
//! - `collect`: open partials and sealing
//! - `controls`: the server's control variates, shared by runs with equal ones
//! - `handle`: a way to talk to a run
//! - `health`: what releases say of a run
//! - `afterwards`: what is left to do when a run is over
//! - `ending`: ending a run that no task owns
//! - `format`: how updates are checked and counted
//! - `payload`: what an update is made of
//! - `release`: from sealed sums to new model versions
//! - `server_state`: what the optimiser and the rule remember
//! - `journal`: events and snapshots on disk, and recovery
//! - `notices`: what sessions tell it without waiting
//! - `start`: new runs; `first_models`: the versions that they begin with
//! - `recover`: old ones after a restart
//! - `supervise`: a crash of a run's task stays in it
//! - `catalogue`: which runs there are
//! - `costs`: the noise of a run and what its rounds cost
//! - `terms`: what it asks of the ledger: caps, reservation, permission
//! - `plan`: whether it can last, checked before it starts; `reserve`: the worst case that it sets aside
//! - `view`: what others see of a run
//! - `wire_plan`: the plan as devices are sent it

mod actor;
mod afterwards;
mod catalogue;
mod collect;
mod controls;
mod costs;
mod ending;
mod first_models;
mod format;
mod handle;
mod health;
mod journal;
mod named;
mod notices;
mod payload;
mod plan;
mod recover;
mod release;
mod remedy;
mod reserve;
mod server_state;
mod start;
mod supervise;
mod terms;
mod view;
mod wire_plan;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tributary_aggregator::{Codec, FixedPoint, RobustSpec};
use tributary_model::Digest;
use tributary_proto::DeviceId;
use tributary_proto::v1::{self, RejectReason};

pub use self::actor::NO_SPACE;
#[cfg(test)]
pub use self::afterwards::start_monitor;
pub use self::catalogue::{Catalogue, Listed};
pub use self::collect::Refusal;
use self::collect::Waiting;
pub use self::controls::Controls;
pub use self::costs::{MAX_CORRELATED, RunCosts};
#[cfg(test)]
pub use self::ending::create_journal;
pub use self::ending::{Ending, end_run, give_up};
pub use self::handle::RunHandle;
pub use self::journal::run_ids;
pub(crate) use self::named::{named_blobs, stored_runs};
use self::payload::Payload;
pub use self::recover::{recover_runs, stored_state};
pub use self::start::{Origin, StartedRun, start_run, started_with};
pub use self::view::RunView;
use crate::CoordinatorError;
use crate::blob::BlobError;
use crate::engine::{DropReason, Reject};
use crate::epoch::Witness;

/// What a contribution that was counted gets.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// Names the segment that holds it; keyed, so that it says nothing of the sum. Empty in an answer
    /// to another upload.
    pub segment_id: String,
    /// Digest of the update.
    pub digest: Digest,
    /// What proves it later.
    pub ticket: v1::Ticket,
}

/// What others ask of a run.
pub(crate) enum Command {
    /// Would an update be counted now, and from which versions may it be?
    Admit {
        device: DeviceId,
        round: u32,
        digest: Option<Digest>,
        reply: oneshot::Sender<Result<Vec<Digest>, Refusal>>,
    },
    /// An update with the announced digest.
    Contribute(Contribute),
    /// A device gives up.
    Abandon {
        device: DeviceId,
        round: u32,
        reason: DropReason,
    },
    /// A device opened a session: it may hold an assignment that it lost, or know more of the run.
    Connected {
        device: DeviceId,
        witnesses: Vec<Witness>,
    },
    /// A device shows what it has answered.
    Showed {
        device: DeviceId,
        witnesses: Vec<Witness>,
    },
    /// An object is damaged on the disk.
    Damaged {
        /// Its digest.
        digest: Digest,
        /// What was found.
        error: BlobError,
    },
    /// Stop the run.
    Stop {
        reply: oneshot::Sender<Result<(), CoordinatorError>>,
    },
}

/// An update whose bytes are here.
pub(crate) struct Contribute {
    /// Who sent it.
    pub device: DeviceId,
    /// The round that it answers.
    pub round: u32,
    /// What its header says of it.
    pub header: Announced,
    /// The encoded payload.
    pub bytes: Bytes,
    /// Its place in the byte budget.
    pub permit: Option<OwnedSemaphorePermit>,
    /// Who waits for the receipt.
    pub reply: Waiting,
}

/// What an upload's header says of the update.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Announced {
    /// Weight in units of 2^-20; 0 for the weight 1.
    pub weight: u64,
    /// Weight times local steps, in the same units.
    pub work: u64,
    /// The cluster that was trained.
    pub cluster: u32,
    /// Whether the payload was within the clip before clipping.
    pub clip: ClipAnswer,
}

/// What a device says of its payload and the clip.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClipAnswer {
    /// Its norm was at most the clip.
    Within,
    /// Its norm was larger; also what a device says that was not asked.
    #[default]
    Above,
    /// There was nothing to measure.
    Nothing,
}

impl From<&v1::UploadHeader> for ClipAnswer {
    fn from(header: &v1::UploadHeader) -> Self {
        match header.clip_report() {
            v1::ClipReport::Within => Self::Within,
            v1::ClipReport::Above => Self::Above,
            v1::ClipReport::None => Self::Nothing,
            v1::ClipReport::Unspecified if header.within_clip => Self::Within,
            v1::ClipReport::Unspecified => Self::Above,
        }
    }
}

/// How to check and count an update of this run.
#[derive(Debug, Clone)]
pub struct Format {
    /// The plan's codec.
    pub codec: Codec,
    /// The plan's clip, and the payload's length.
    pub fixed: FixedPoint,
    /// What the payload is made of.
    pub payload: Payload,
    /// The rule that makes one update of many; none for the mean.
    pub robust: Option<RobustSpec>,
    /// Rounds that an update may be late.
    pub staleness_cap: u32,
    /// True when there is noise: what is found inside an update is then told to nobody.
    pub is_private: bool,
}

/// The reason on the wire of an engine's refusal.
pub fn wire_reason(reject: Reject) -> RejectReason {
    match reject {
        Reject::RunOver => RejectReason::UnknownRun,
        Reject::WrongRound | Reject::WrongPhase | Reject::BelowMinimum => RejectReason::WrongRound,
        Reject::NotAssigned => RejectReason::NotAssigned,
        Reject::LeaseExpired => RejectReason::LeaseExpired,
        Reject::Duplicate => RejectReason::Duplicate,
        Reject::GoalMet => RejectReason::GoalMet,
        Reject::Interrupted | Reject::BetweenBuffers => RejectReason::Busy,
        Reject::Halted => RejectReason::Halted,
    }
}

/// An engine's refusal as a message.
pub fn wire_reject(reject: Reject) -> v1::Reject {
    let retry_after_ms = match reject {
        Reject::Interrupted => 1_000,
        Reject::BetweenBuffers => 50,
        Reject::Halted => 60_000,
        _ => 0,
    };
    v1::Reject {
        reason: wire_reason(reject).into(),
        message: reject.to_string(),
        retry_after_ms,
        ..v1::Reject::default()
    }
}
