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
//! - `release`: from sealed sums to a new model version
//! - `journal`: events and snapshots on disk, and recovery
//! - `start`: new runs, and old ones after a restart
//! - `plan`: what a run costs, checked before it starts
//! - `view`: what others see of a run

mod actor;
mod collect;
mod journal;
mod plan;
mod release;
mod start;
mod view;

use tokio::sync::{mpsc, oneshot, watch};
use tributary_aggregator::{Codec, Contribution, FixedPoint};
use tributary_proto::v1::{self, RejectReason};
use tributary_proto::{DeviceId, RunId};

pub use self::plan::{RunCosts, costs};
pub use self::start::{Origin, recover_runs, start_run};
pub use self::view::RunView;
use crate::CoordinatorError;
use crate::engine::Reject;

/// What a contribution that was counted gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Names the segment that holds it; keyed, so that it says nothing of the sum.
    pub segment_id: String,
}

/// What others ask of a run.
pub(crate) enum Command {
    /// Would an update be counted now?
    Admit {
        device: DeviceId,
        round: u32,
        reply: oneshot::Sender<Result<(), Reject>>,
    },
    /// A checked update.
    Contribute {
        device: DeviceId,
        round: u32,
        contribution: Contribution,
        bytes: u64,
        reply: oneshot::Sender<Result<Counted, Reject>>,
    },
    /// A device gives up.
    Abandon { device: DeviceId, round: u32 },
    /// A device opened a session: it may hold an assignment that it lost.
    Connected { device: DeviceId },
    /// Stop the run.
    Stop {
        reply: oneshot::Sender<Result<(), CoordinatorError>>,
    },
}

/// How to check and count an update of this run.
#[derive(Debug, Clone)]
pub struct Format {
    /// The plan's codec.
    pub codec: Codec,
    /// The plan's clip and length.
    pub fixed: FixedPoint,
}

/// A way to talk to a run. Cheap to clone.
#[derive(Clone)]
pub struct RunHandle {
    /// The run.
    pub id: RunId,
    /// How its updates are checked.
    pub format: Format,
    commands: mpsc::Sender<Command>,
    view: watch::Receiver<RunView>,
}

impl RunHandle {
    /// What the run looks like now.
    pub fn view(&self) -> RunView {
        self.view.borrow().clone()
    }

    /// Follows the run.
    pub fn follow(&self) -> watch::Receiver<RunView> {
        self.view.clone()
    }

    /// Whether an update would be counted now.
    ///
    /// # Errors
    /// Why not.
    pub async fn admit(&self, device: DeviceId, round: u32) -> Result<(), Reject> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Admit {
            device,
            round,
            reply,
        };
        self.commands
            .send(command)
            .await
            .map_err(|_| Reject::RunOver)?;
        answer.await.unwrap_or(Err(Reject::RunOver))
    }

    /// Counts a checked update; resolves when it is durable.
    ///
    /// # Errors
    /// Why it is not counted.
    pub async fn contribute(
        &self,
        device: DeviceId,
        round: u32,
        contribution: Contribution,
        bytes: u64,
    ) -> Result<Counted, Reject> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Contribute {
            device,
            round,
            contribution,
            bytes,
            reply,
        };
        self.commands
            .send(command)
            .await
            .map_err(|_| Reject::RunOver)?;
        answer.await.unwrap_or(Err(Reject::Interrupted))
    }

    /// Notes that a device gives up.
    pub async fn abandon(&self, device: DeviceId, round: u32) {
        // a run that is over needs no notice
        let _ = self.commands.send(Command::Abandon { device, round }).await;
    }

    /// Notes that a device opened a session.
    pub async fn connected(&self, device: DeviceId) {
        let _ = self.commands.send(Command::Connected { device }).await;
    }

    /// Stops the run.
    ///
    /// # Errors
    /// When it is over already.
    pub async fn stop(&self) -> Result<(), CoordinatorError> {
        let (reply, answer) = oneshot::channel();
        let over = || CoordinatorError::Reject(Reject::RunOver);
        self.commands
            .send(Command::Stop { reply })
            .await
            .map_err(|_| over())?;
        answer.await.map_err(|_| over())?
    }
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
        Reject::Interrupted => RejectReason::Busy,
    }
}

/// An engine's refusal as a message.
pub fn wire_reject(reject: Reject) -> v1::Reject {
    let retry_after_ms = if reject == Reject::Interrupted {
        1_000
    } else {
        0
    };
    v1::Reject {
        reason: wire_reason(reject).into(),
        message: reject.to_string(),
        retry_after_ms,
    }
}
