//! What can be said to a run.

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tributary_model::Digest;
use tributary_proto::DeviceId;
use tributary_proto::v1;

use super::receipt::{ReceiptSender, Refusal};
use crate::CoordinatorError;
use crate::engine::DropReason;
use crate::epoch::Witness;
use tributary_store::blob::BlobError;

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
    pub header: UpdateHeader,
    /// The encoded payload.
    pub bytes: Bytes,
    /// Its place in the byte budget.
    pub permit: Option<OwnedSemaphorePermit>,
    /// Who waits for the receipt.
    pub reply: ReceiptSender,
}

/// What an upload's header says of the update.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UpdateHeader {
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
