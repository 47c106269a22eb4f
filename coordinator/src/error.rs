//! What can go wrong in the coordinator, and how a caller is told.

use tonic::Code;
use tributary_aggregator::{OptimiserError, PartialError, ReleaseError, RobustError};
use tributary_drift::DriftError;
use tributary_model::ModelError;
use tributary_privacy::ftrl::FtrlError;
use tributary_privacy::{
    AccountingError, AdaptiveClipError, LocalNoiseError, NoiseError, RhoError,
};
use tributary_proto::IdError;

use crate::engine::Reject;
use crate::status;
use tributary_recipe::SpecError;
use tributary_store::StoreError;
use tributary_store::blob::BlobError;

/// Everything that can go wrong. Each has a stable code that users can look up.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    /// The metadata store refused.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The blob store refused.
    #[error("{0}")]
    Blob(#[from] BlobError),
    /// A recipe is wrong.
    #[error("{0}")]
    Spec(#[from] SpecError),
    /// A model is wrong.
    #[error("{0}")]
    Model(#[from] ModelError),
    /// An id is wrong.
    #[error("{0}")]
    Id(#[from] IdError),
    /// A privacy number is wrong.
    #[error("{0}")]
    Accounting(#[from] AccountingError),
    /// The noise could not be drawn.
    #[error("{0}")]
    Noise(#[from] NoiseError),
    /// Correlated noise can't be planned, drawn or read.
    #[error("{0}")]
    Ftrl(#[from] FtrlError),
    /// The clip can't move as asked.
    #[error("{0}")]
    AdaptiveClip(#[from] AdaptiveClipError),
    /// Devices can't add the noise that was asked for.
    #[error("{0}")]
    LocalNoise(#[from] LocalNoiseError),
    /// A stored partial sum is damaged.
    #[error("{0}")]
    Partial(#[from] PartialError),
    /// The mean could not be released.
    #[error("{0}")]
    Release(#[from] ReleaseError),
    /// The robust rule refused.
    #[error("{0}")]
    Robust(#[from] RobustError),
    /// The server optimiser refused.
    #[error("{0}")]
    Optimiser(#[from] OptimiserError),
    /// The monitor refused.
    #[error("{0}")]
    Drift(#[from] DriftError),
    /// An event did not fit the engine's state.
    #[error("{0}")]
    Reject(#[from] Reject),
    /// Something that is not known here.
    #[error("{what} {name:?} is not known here: {remedy}")]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// Its name, cut to 80 characters.
        name: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The caller could not prove who it is.
    #[error("the token does not belong to this device_id: enrol again")]
    Unauthenticated,
    /// A device id is taken by another token.
    #[error("device_id {0:?} is enrolled with another token or region: choose another id")]
    Taken(String),
    /// A device can't be moved while a round counts on it.
    #[error("device {0:?} holds a lease of a running round: move it when the round is over")]
    AtWork(String),
    /// What is asked for has ended, or is another kind of work.
    #[error("{0}")]
    Over(String),
    /// A field of a request is wrong.
    #[error("{field} {problem}: {remedy}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong.
        problem: String,
        /// What would be right.
        remedy: &'static str,
    },
    /// The bytes of a request are no message of this call.
    #[error("the request can't be read: {0}")]
    Unreadable(String),
    /// A plan that can't be paid for.
    #[error("{0}")]
    Budget(String),
    /// Records are damaged; what they describe is set aside.
    #[error(
        "{what} {name:?} is set aside as damaged ({cause} [{code}]); nothing of it was changed"
    )]
    SetAside {
        /// What: a run, a monitor.
        what: &'static str,
        /// Its name.
        name: String,
        /// What was found.
        cause: String,
        /// The code of what was found.
        code: &'static str,
    },
    /// A run's journal holds an event that its state does not take.
    #[error("the journal of run {run} does not fit its state: {why}")]
    Misfit {
        /// The run.
        run: String,
        /// What the engine said.
        why: String,
    },
    /// Too much at the same time; the same call succeeds later.
    #[error("{what}: try again in {} s", retry_after_ms.div_ceil(1_000))]
    Busy {
        /// What there is too much of.
        what: &'static str,
        /// When to come back, in milliseconds.
        retry_after_ms: u64,
    },
    /// A limit of this coordinator is reached.
    #[error("{what}: the limit is {limit}; {remedy}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// What to do.
        remedy: &'static str,
    },
    /// Somebody took too long to send what was to come.
    #[error("{what} did not come in time: {remedy}")]
    Slow {
        /// What did not come.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// An upload ended before its last byte.
    #[error("the upload ended at {got} of {size} bytes: begin it again, it goes on from there")]
    Incomplete {
        /// Bytes that came.
        got: u64,
        /// Bytes that were announced.
        size: u64,
    },
    /// A watcher did not read its events fast enough.
    #[error("this watcher fell behind and lost events: watch again")]
    FellBehind,
    /// The operating system gave no randomness.
    #[error(
        "the operating system gave no random bytes ({0}): give the process access to its random \
         source"
    )]
    Entropy(String),
    /// Parts of the coordinator contradict each other, which is a bug.
    #[error("{0}; report it")]
    Inconsistent(&'static str),
    /// Work ended in a panic, which is a bug.
    #[error("{0} crashed; see the panic message in the log, and report it")]
    Crashed(&'static str),
    /// The coordinator is stopping.
    #[error("the coordinator is stopping: try again in a moment")]
    Stopping,
}

impl From<RhoError> for CoordinatorError {
    fn from(error: RhoError) -> Self {
        Self::Accounting(error.into())
    }
}

impl CoordinatorError {
    /// Why a task of this process gave no result.
    pub fn of_task(what: &'static str, error: &tokio::task::JoinError) -> Self {
        if error.is_panic() {
            Self::Crashed(what)
        } else {
            Self::Stopping
        }
    }

    /// An unknown thing.
    pub fn unknown(what: &'static str, name: &str, remedy: &'static str) -> Self {
        Self::Unknown {
            what,
            name: name.chars().take(80).collect(),
            remedy,
        }
    }

    /// The stable code; `docs/errors.md` explains each.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "TRB-0100",
            Self::Id(_) => "TRB-0101",
            Self::Unreadable(_) => "TRB-0102",
            Self::Spec(_) => "TRB-0110",
            Self::Model(_) => "TRB-0120",
            Self::Budget(_) => "TRB-0130",
            Self::Unknown { .. } => "TRB-0200",
            Self::Unauthenticated => "TRB-0210",
            Self::Taken(_) => "TRB-0211",
            Self::AtWork(_) => "TRB-0212",
            Self::Busy { .. } => "TRB-0220",
            Self::Limit { .. } => "TRB-0221",
            Self::Slow { .. } => "TRB-0222",
            Self::Incomplete { .. } => "TRB-0223",
            Self::FellBehind => "TRB-0224",
            Self::Reject(_) | Self::Over(_) => "TRB-0300",
            Self::Accounting(_)
            | Self::Noise(_)
            | Self::Ftrl(_)
            | Self::AdaptiveClip(_)
            | Self::LocalNoise(_)
            | Self::Entropy(_) => "TRB-0400",
            Self::Partial(_) | Self::Release(_) | Self::Robust(_) | Self::Optimiser(_) => {
                "TRB-0410"
            }
            Self::Drift(_) => "TRB-0420",
            Self::Store(error) => error.code(),
            Self::Blob(_) => "TRB-0510",
            Self::SetAside { .. } => "TRB-0530",
            Self::Misfit { .. } => "TRB-0531",
            Self::Crashed(_) => "TRB-0610",
            Self::Inconsistent(_) => "TRB-0611",
            Self::Stopping => "TRB-0600",
        }
    }

    /// Whether there was no room on the disk: nothing was kept, and the same call succeeds once there is.
    pub fn is_disk_full(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Full { .. }) | Self::Blob(BlobError::Full { .. })
        )
    }

    /// Milliseconds after which the same call may succeed; 0 means that it will not.
    pub fn retry_after_ms(&self) -> u64 {
        match self {
            Self::Stopping | Self::FellBehind => 1_000,
            Self::Store(StoreError::Halted { .. }) => 60_000,
            Self::Busy { retry_after_ms, .. } => *retry_after_ms,
            Self::Incomplete { .. } | Self::Slow { .. } => 1_000,
            Self::Store(_) | Self::Blob(_) if self.status_code() == Code::Unavailable => 5_000,
            Self::AtWork(_) => 5_000,
            _ => 0,
        }
    }
}

impl CoordinatorError {
    /// The gRPC status code.
    pub fn status_code(&self) -> Code {
        match self {
            Self::Invalid { .. }
            | Self::Id(_)
            | Self::Spec(_)
            | Self::Model(_)
            | Self::Unreadable(_) => Code::InvalidArgument,
            Self::Budget(_)
            | Self::Reject(_)
            | Self::Over(_)
            | Self::SetAside { .. }
            | Self::AtWork(_) => Code::FailedPrecondition,
            Self::Unknown { .. } => Code::NotFound,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::Taken(_) => Code::AlreadyExists,
            Self::Busy { .. } | Self::Limit { .. } => Code::ResourceExhausted,
            Self::Slow { .. } => Code::DeadlineExceeded,
            Self::Incomplete { .. } => Code::Aborted,
            Self::Stopping | Self::FellBehind => Code::Unavailable,
            Self::Store(error) => store_code(error),
            Self::Blob(error) => blob_code(error),
            _ => Code::Internal,
        }
    }
}

fn store_code(error: &StoreError) -> Code {
    match error {
        StoreError::KeySize { .. }
        | StoreError::ValueTooLarge { .. }
        | StoreError::BatchTooLarge { .. }
        | StoreError::DuplicateKey { .. }
        | StoreError::Encoding { .. } => Code::Internal,
        StoreError::Corrupt { .. } | StoreError::Lost { .. } => Code::DataLoss,
        StoreError::Conflict { .. } => Code::Aborted,
        _ => Code::Unavailable,
    }
}

fn blob_code(error: &BlobError) -> Code {
    match error {
        BlobError::NotFound { .. } => Code::NotFound,
        BlobError::Corrupt { .. } => Code::DataLoss,
        BlobError::TooLarge { .. } => Code::InvalidArgument,
        BlobError::OutOfRange { .. } => Code::Internal,
        _ => Code::Unavailable,
    }
}

impl From<CoordinatorError> for tonic::Status {
    fn from(error: CoordinatorError) -> Self {
        let retry_after_ms = error.retry_after_ms();
        let (code, stable) = (error.status_code(), error.code());
        // what is inside the coordinator is for its log, where the whole text is
        if matches!(code, Code::Internal | Code::DataLoss) {
            tracing::error!(%error, code = stable, "a call failed");
        }
        status::coded(code, &error.to_string(), stable, retry_after_ms)
    }
}

#[cfg(test)]
mod tests;
