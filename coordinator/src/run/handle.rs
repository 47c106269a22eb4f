//! A way to talk to a run, and why it does not answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tributary_model::Digest;
use tributary_proto::{DeviceId, RunId};

use super::notices::{Kind, Notices};
use super::receipt::ReceiptSender;
use super::{Command, Contribute, Counted, Format, Refusal, RunView, UpdateHeader};
use crate::CoordinatorError;
use crate::engine::{DropReason, Reject};
use crate::epoch::Witness;
use tributary_store::blob::BlobError;

/// How long an upload waits for a run whose mailbox is full, before it is told to come back.
const MAILBOX_WAIT: Duration = Duration::from_secs(10);

/// A way to talk to a run. Cheap to clone.
#[derive(Clone)]
pub struct RunHandle {
    /// The run.
    pub id: RunId,
    /// How its updates are checked.
    pub format: Arc<Format>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) notices: Arc<Notices>,
    pub(super) view: watch::Receiver<RunView>,
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

    /// Whether an update with this digest would be counted now; the versions that it may have trained
    /// from.
    ///
    /// # Errors
    /// Why not.
    pub async fn admit(
        &self,
        device: DeviceId,
        round: u32,
        digest: Option<Digest>,
    ) -> Result<Vec<Digest>, Refusal> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Admit {
            device,
            round,
            digest,
            reply,
        };
        self.put(command).await?;
        answer.await.unwrap_or_else(|_| Err(self.why_gone()))
    }

    /// Leaves a command of an upload in the mailbox; a run that is busy for long is no reason to keep
    /// a device waiting.
    async fn put(&self, command: Command) -> Result<(), Refusal> {
        match tokio::time::timeout(MAILBOX_WAIT, self.commands.send(command)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.why_gone()),
            Err(_) => Err(Reject::Interrupted.into()),
        }
    }

    /// Counts an update whose bytes have this digest; resolves when it is durable.
    ///
    /// # Errors
    /// Why it is not counted.
    pub async fn contribute(
        &self,
        device: DeviceId,
        round: u32,
        header: UpdateHeader,
        (digest, bytes): (Digest, Bytes),
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Counted, Refusal> {
        let (reply, answer) = oneshot::channel();
        let contribute = Contribute {
            device,
            round,
            header,
            bytes,
            permit,
            reply: ReceiptSender::new(digest, reply),
        };
        self.put(Command::Contribute(contribute)).await?;
        answer.await.unwrap_or_else(|_| Err(self.why_gone()))
    }

    /// Notes that a device gives up. Never waits.
    pub fn abandon(&self, device: DeviceId, round: u32, reason: DropReason) {
        let command = Command::Abandon {
            device: device.clone(),
            round,
            reason,
        };
        self.notice(device, Kind::Abandon, command);
    }

    /// Notes that a device opened a session, and its tickets of the present epoch. Never waits.
    pub fn connected(&self, device: DeviceId, witnesses: &[Witness]) {
        let command = Command::Connected {
            device: device.clone(),
            witnesses: witnesses.to_vec(),
        };
        self.notice(device, Kind::Connected, command);
    }

    /// Notes what a device that refuses an order has answered, as far as it is of this run. Never waits.
    pub fn showed(&self, device: &DeviceId, witnesses: &[Witness]) {
        let mine = |witness: &&Witness| witness.subject == self.id.as_str();
        let witnesses: Vec<Witness> = witnesses.iter().filter(mine).cloned().collect();
        if witnesses.is_empty() {
            return;
        }
        let command = Command::Showed {
            device: device.clone(),
            witnesses,
        };
        self.notice(device.clone(), Kind::Showed, command);
    }

    fn notice(&self, device: DeviceId, kind: Kind, command: Command) {
        // a run that is over takes no notice
        if !self.commands.is_closed() {
            self.notices.leave(device, kind, command);
        }
    }

    /// Notes that an object is damaged that devices may have to fetch. Never waits.
    pub fn damaged(&self, digest: Digest, error: &BlobError) {
        let (commands, error) = (self.commands.clone(), error.clone());
        tokio::spawn(async move {
            // a run that is over needs it no more
            let _ = commands.send(Command::Damaged { digest, error }).await;
        });
    }

    /// Stops the run.
    ///
    /// # Errors
    /// When it is over already or set aside, or its task crashed meanwhile.
    pub async fn stop(&self) -> Result<(), CoordinatorError> {
        let (reply, answer) = oneshot::channel();
        if self.commands.send(Command::Stop { reply }).await.is_err() {
            return Err(self.why_not_stopped());
        }
        answer.await.unwrap_or_else(|_| Err(self.why_not_stopped()))
    }

    /// Why nobody answers an upload. A crash and a stop of the coordinator pass: the same update may be
    /// sent again.
    fn why_gone(&self) -> Refusal {
        let view = self.view.borrow();
        match (&view.aside, view.is_over()) {
            (Some(_), _) => Refusal::SetAside,
            (None, true) => Reject::RunOver.into(),
            (None, false) => Reject::Interrupted.into(),
        }
    }

    /// Why nobody answers an operator.
    fn why_not_stopped(&self) -> CoordinatorError {
        let view = self.view.borrow();
        match (&view.aside, view.is_over()) {
            (Some(cause), _) => cause.refusal("run", self.id.as_str()),
            (None, true) => Reject::RunOver.into(),
            (None, false) if self.commands.is_closed() => CoordinatorError::Stopping,
            (None, false) => CoordinatorError::Busy {
                what: "the run's task crashed, and the run is read back from disk",
                retry_after_ms: 1_000,
            },
        }
    }
}
