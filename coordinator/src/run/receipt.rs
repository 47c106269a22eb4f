//! What the sender of an update is answered.

use tokio::sync::oneshot;
use tributary_aggregator::{PartialError, UpdateError};
use tributary_model::Digest;
use tributary_proto::v1;

use crate::engine::Reject;

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

/// Why a contribution is not counted.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The engine does not want it now.
    Engine(Reject),
    /// Its bytes are not a contribution.
    Update(UpdateError),
    /// A field of its header does not fit the plan.
    Header(&'static str),
    /// The device was counted in this round already.
    Counted(Box<Counted>),
    /// The run is set aside as damaged.
    SetAside,
    /// The sum can't take it, for example because it would overflow.
    Sum(PartialError),
}

impl From<Reject> for Refusal {
    fn from(reject: Reject) -> Self {
        Self::Engine(reject)
    }
}

/// Who waits for a receipt, and of what.
pub struct ReceiptSender {
    /// Digest of the update that was sent.
    pub digest: Digest,
    reply: oneshot::Sender<Result<Counted, Refusal>>,
}

impl ReceiptSender {
    /// Waits for an update with this digest.
    pub fn new(digest: Digest, reply: oneshot::Sender<Result<Counted, Refusal>>) -> Self {
        Self { digest, reply }
    }

    /// Answers; a device that has gone away needs no answer.
    pub fn answer(self, answer: Result<Counted, Refusal>) {
        let _ = self.reply.send(answer);
    }

    /// A receipt, if it was this update of the device that was counted; else what was.
    pub fn counted(self, counted: Counted) {
        if self.digest == counted.digest {
            self.answer(Ok(counted));
        } else {
            self.answer(Err(Refusal::Counted(Box::new(counted))));
        }
    }
}
