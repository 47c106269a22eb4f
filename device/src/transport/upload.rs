//! Sending an update: header, answer, chunks, receipt. Retried byte for byte until the lease ends.

use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::{Request, Status, Streaming};
use tributary_proto::v1::transfer_service_client::TransferServiceClient;
use tributary_proto::v1::upload_request::Part;
use tributary_proto::v1::upload_response::Answer;
use tributary_proto::v1::{
    Receipt, Reject, RejectReason, Ticket, UploadChunk, UploadHeader, UploadRequest, UploadResponse,
};

use crate::state::permit::{Permit, PermitError};
use crate::training::update::EncodedUpdate;
use crate::transport::backoff::Backoff;
use crate::transport::link::Link;

/// Bytes per chunk: the cheapest size measured, and small enough for a device's memory.
pub(crate) const CHUNK: usize = 256 * 1024;
/// Wait when the coordinator is busy and names none.
const BUSY_WAIT: Duration = Duration::from_millis(250);

/// How a delivery ended.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// These bytes are counted, now or before; with the proof.
    Counted(Option<Ticket>),
    /// Another update of the device was counted: what it keeps stays as it is.
    CountedOtherwise,
    /// Refused for good.
    Refused(RejectReason),
    /// The lease ended first.
    Expired,
    /// The device itself keeps it back: a limit, or a record that can't be written.
    Barred(PermitError),
}

enum Outcome {
    Receipt(Receipt),
    Reject(Reject),
    Barred(PermitError),
}

impl Link<'_> {
    /// Sends `update` until it is counted, refused for good, or `deadline` has passed. `pass` is
    /// recorded before the first byte leaves.
    pub(crate) async fn deliver(
        &self,
        update: &EncodedUpdate,
        pass: &mut Permit,
        deadline: Instant,
    ) -> Delivery {
        let delivery = match timeout_at(deadline, self.deliver_with_retries(update, pass)).await {
            Ok(delivery) => delivery,
            Err(_) => Delivery::Expired,
        };
        match &delivery {
            Delivery::CountedOtherwise => {
                self.step('#');
                self.tally.count("upload", "counted_otherwise");
            }
            Delivery::Counted(_) => {
                self.step('+');
                self.tally.count("upload", "counted");
            }
            Delivery::Refused(_) => {
                self.step('#');
                self.tally.count("upload", "refused");
            }
            Delivery::Expired => {
                self.step('!');
                self.tally.count("upload", "expired");
            }
            Delivery::Barred(error) => {
                self.step('!');
                self.tally.count("abandoned", error.reason());
            }
        }
        delivery
    }

    async fn deliver_with_retries(&self, update: &EncodedUpdate, pass: &mut Permit) -> Delivery {
        let mut backoff = Backoff::new(self.timing.backoff);
        let digest = update.digest.to_string();
        loop {
            let wait = match self.send(update, pass).await {
                Ok(Outcome::Receipt(receipt)) if is_for(&receipt, update) => {
                    return Delivery::Counted(receipt.ticket);
                }
                Ok(Outcome::Receipt(_)) => {
                    self.tally.count("upload", "foreign_receipt");
                    backoff.next(&mut *self.rng())
                }
                Ok(Outcome::Reject(reject)) => {
                    self.tally.rejected(reject.reason());
                    match reject.reason() {
                        RejectReason::Duplicate if reject.digest == digest => {
                            return Delivery::Counted(reject.ticket);
                        }
                        RejectReason::Duplicate => return Delivery::CountedOtherwise,
                        RejectReason::Busy if reject.retry_after_ms > 0 => {
                            Duration::from_millis(reject.retry_after_ms)
                        }
                        RejectReason::Busy => BUSY_WAIT,
                        reason => return Delivery::Refused(reason),
                    }
                }
                Ok(Outcome::Barred(error)) => return Delivery::Barred(error),
                Err(_) => {
                    self.step('~');
                    backoff.next(&mut *self.rng())
                }
            };
            sleep(wait).await;
        }
    }

    /// One try.
    async fn send(&self, update: &EncodedUpdate, pass: &mut Permit) -> Result<Outcome, Status> {
        let leased = self.lease();
        let mut client = TransferServiceClient::new(leased.channel.clone());
        let (start, started) = oneshot::channel();
        let header = UploadHeader {
            credentials: Some(self.identity.credentials()),
            run_id: update.run_id.clone(),
            round: update.round,
            digest: update.digest.to_string(),
            size: update.bytes.len() as u64,
            codec: update.codec.clone(),
            model_digest: update.model_digest.clone(),
            weight: update.weight,
            work: update.work,
            cluster: update.cluster,
            clip_report: update.clip_report.into(),
            ..UploadHeader::default()
        };
        let parts = parts(header, update.bytes.clone(), started);
        let mut answers = self
            .call(&leased, client.upload(Request::new(parts)))
            .await?;
        let size = update.bytes.len();
        let answered = self.converse(&mut answers, start, size, pass).await;
        if let Err(status) = &answered {
            self.note_failure(status, &leased);
        }
        answered
    }

    async fn converse(
        &self,
        answers: &mut Streaming<UploadResponse>,
        start: oneshot::Sender<u64>,
        size: usize,
        pass: &mut Permit,
    ) -> Result<Outcome, Status> {
        let timing = self.timing;
        let offset = match next_answer(answers, timing.answer).await? {
            Answer::Accepted(accepted) => accepted.offset,
            Answer::Reject(reject) => {
                drop(start);
                finish(answers, timing.answer).await;
                return Ok(Outcome::Reject(reject));
            }
            Answer::Receipt(receipt) => return Ok(Outcome::Receipt(receipt)),
        };
        if offset > size as u64 {
            return Err(Status::internal(
                "the coordinator wants to begin behind the end",
            ));
        }
        if let Err(error) = pass.take().await {
            error.log(self.identity, pass.run_id());
            return Ok(Outcome::Barred(error));
        }
        // Counted before they leave; a try that breaks counts what it set out to send.
        self.tally.sent(size - offset as usize);
        let _ = start.send(offset);
        let outcome = match next_answer(answers, timing.receipt).await? {
            Answer::Receipt(receipt) => Outcome::Receipt(receipt),
            Answer::Reject(reject) => Outcome::Reject(reject),
            Answer::Accepted(_) => return Err(Status::internal("accepted twice")),
        };
        finish(answers, timing.answer).await;
        Ok(outcome)
    }
}

fn is_for(receipt: &Receipt, update: &EncodedUpdate) -> bool {
    receipt.run_id == update.run_id
        && receipt.round == update.round
        && receipt.digest == update.digest.to_string()
}

async fn next_answer(
    answers: &mut Streaming<UploadResponse>,
    wait: Duration,
) -> Result<Answer, Status> {
    let next = timeout(wait, answers.message()).await;
    let message =
        next.map_err(|_| Status::deadline_exceeded("no answer to an upload in time"))??;
    message
        .and_then(|response| response.answer)
        .ok_or_else(|| Status::data_loss("the coordinator ended an upload without an answer"))
}

/// Reads to the end, so that the stream closes in order instead of being reset.
async fn finish(answers: &mut Streaming<UploadResponse>, wait: Duration) {
    let _ = timeout(wait, answers.message()).await;
}

enum Next {
    Header(UploadHeader, oneshot::Receiver<u64>),
    Start(oneshot::Receiver<u64>),
    Chunk(usize),
}

/// The parts of an upload. Nothing follows the header until the coordinator named an offset; the
/// stream ends when it did not.
fn parts(
    header: UploadHeader,
    bytes: Bytes,
    started: oneshot::Receiver<u64>,
) -> impl Stream<Item = UploadRequest> + Send + 'static {
    let first = (Next::Header(header, started), bytes);
    futures::stream::unfold(first, |(mut next, bytes)| async move {
        loop {
            match next {
                Next::Header(header, started) => {
                    let part = Some(Part::Header(header));
                    return Some((UploadRequest { part }, (Next::Start(started), bytes)));
                }
                Next::Start(started) => next = Next::Chunk(started.await.ok()? as usize),
                Next::Chunk(offset) if offset >= bytes.len() => return None,
                Next::Chunk(offset) => {
                    let end = bytes.len().min(offset + CHUNK);
                    let data = bytes.slice(offset..end);
                    let part = Some(Part::Chunk(UploadChunk {
                        offset: offset as u64,
                        data,
                    }));
                    return Some((UploadRequest { part }, (Next::Chunk(end), bytes)));
                }
            }
        }
    })
}
