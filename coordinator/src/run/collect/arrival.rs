//! An update on its way into a sum: arrived, added, written.

use std::num::NonZeroUsize;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tributary_aggregator::Partial;
use tributary_model::Digest;
use tributary_proto::{DeviceId, RunId};

use crate::CoordinatorError;
use crate::engine::Segment;
use crate::failpoint::SharedFailpoint;
use crate::run::receipt::ReceiptSender;

/// An update that the engine admits.
pub struct AdmittedUpdate {
    /// Who sent it.
    pub device: DeviceId,
    /// Index of its region.
    pub region: usize,
    /// The cluster that it trained.
    pub cluster: usize,
    /// The encoded payload.
    pub bytes: Bytes,
    /// Its weight in units of 2^-20.
    pub weight: u64,
    /// Its weight times its steps, in the same units.
    pub work: u64,
    /// What its staleness leaves of it, in (0, 1].
    pub share: f32,
    /// Its place in the byte budget, free once the bytes are summed.
    pub permit: Option<OwnedSemaphorePermit>,
    /// Who waits for the receipt.
    pub receipt: ReceiptSender,
}

/// How updates are added.
#[derive(Clone)]
pub struct Adding {
    /// The run, for failpoints.
    pub run: RunId,
    /// Threads that add large updates, each a part of the parameters.
    pub threads: NonZeroUsize,
    /// Where a test can make it crash.
    pub failpoint: SharedFailpoint,
}

/// Adding updates crashed. What the open sum held is gone with it.
#[derive(Debug)]
pub struct SumCrash {
    /// Whose updates were being added.
    pub devices: Vec<DeviceId>,
    /// What to make of it.
    pub error: CoordinatorError,
}

/// Why a task that was given away did not come back.
pub(super) fn crashed(error: &tokio::task::JoinError, what: &'static str) -> CoordinatorError {
    if error.is_cancelled() {
        CoordinatorError::Stopping
    } else {
        CoordinatorError::Crashed(what)
    }
}

/// What a segment is made of.
pub enum Content {
    /// A sum of contributions.
    Sum(Partial),
    /// One update, with its place in the byte budget.
    Update(Bytes, Option<OwnedSemaphorePermit>),
}

/// A blob that was written and waits for its record.
pub struct Sealing {
    /// The segment to record, without the marks.
    pub segment: Segment,
    /// Digests of the updates, by contributor.
    pub digests: Vec<Digest>,
    /// What it is made of.
    pub content: Content,
    /// Who waits for it, by contributor.
    pub receipts: Vec<Vec<ReceiptSender>>,
}
