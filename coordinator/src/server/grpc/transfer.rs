//! Downloads and uploads.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio::time::error::Elapsed;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tributary_model::Digest;
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::transfer_service_server::TransferService;
use tributary_proto::v1::{
    DownloadRequest, DownloadResponse, Receipt, Reject, RejectReason, UploadAccepted, UploadHeader,
    UploadRequest, UploadResponse, upload_request, upload_response,
};

use super::answers::{Answers, until_stopped};
use super::strangers::{Stranger, Strangers};
use super::unreadable;
use super::upload::{Upload, Uploads, busy, wire_refusal};
use crate::core::Core;
use crate::error::CoordinatorError;
use crate::run::Runs;

/// Bytes per piece of a download: what each of them may hold that nobody takes.
pub const PIECE: usize = 32 * 1024;
/// A device that sends nothing for so long has gone away.
const STALLED: Duration = Duration::from_secs(20);
/// Uploads that may be open without having announced themselves.
const WITHOUT_HEADER: usize = 1_024;
/// Answers that may wait for a device.
const WAITING: usize = 4;

/// The transfer service.
pub struct Transfer {
    runs: Arc<Runs>,
    uploads: Arc<Uploads>,
    strangers: Arc<Strangers>,
}

impl Transfer {
    /// The service of a coordinator.
    pub fn new(runs: Arc<Runs>) -> Self {
        Self {
            uploads: Arc::new(Uploads::new(runs.core.upload_bytes())),
            runs,
            strangers: Strangers::new(
                WITHOUT_HEADER,
                "too many uploads have not announced themselves yet",
            ),
        }
    }
}

type Answer = Result<UploadResponse, Status>;

#[tonic::async_trait]
impl TransferService for Transfer {
    type DownloadStream = Answers<DownloadResponse>;
    type UploadStream = Answers<UploadResponse>;

    async fn download(
        &self,
        request: Request<DownloadRequest>,
    ) -> Result<Response<Self::DownloadStream>, Status> {
        let request = request.into_inner();
        if request.credentials.is_some() {
            self.runs
                .core
                .fleet
                .authenticate(request.credentials.as_ref())?;
        }
        let digest: Digest = request
            .digest
            .parse()
            .map_err(|_| CoordinatorError::Invalid {
                field: "digest",
                problem: "is no SHA-256".to_owned(),
                remedy: "send 64 hex characters",
            })?;
        let object = self.runs.core.open_object(&digest).await?;
        let total = object.size();
        if request.offset > total {
            return Err(CoordinatorError::Invalid {
                field: "offset",
                problem: format!("is {}", request.offset),
                remedy: "use at most the object's length",
            }
            .into());
        }
        let core = self.runs.core.clone();
        // what operators fetch is no part of a round
        let counted = request.credentials.is_some().then_some(digest);
        let pieces = (request.offset..total.max(request.offset + 1)).step_by(PIECE);
        let pieces = futures::stream::iter(pieces).then(move |offset| {
            let (core, object) = (core.clone(), object.clone());
            async move {
                let length = (total - offset).min(PIECE as u64);
                let data = core.read_object(&object, offset, length).await?;
                match counted {
                    Some(digest) => core.telemetry.downloaded(digest, length),
                    None => core.telemetry.sent(length),
                }
                Ok(DownloadResponse {
                    offset,
                    total,
                    data,
                })
            }
        });
        Ok(Response::new(until_stopped(&self.runs.core, pieces)))
    }

    async fn upload(
        &self,
        request: Request<Streaming<UploadRequest>>,
    ) -> Result<Response<Self::UploadStream>, Status> {
        let (answers, stream) = mpsc::channel(WAITING);
        let (runs, uploads) = (self.runs.clone(), self.uploads.clone());
        let stranger = self.strangers.enter(request.extensions());
        tokio::spawn(async move {
            let taken = take_upload(&runs, &uploads, request.into_inner(), &answers, stranger);
            // an upload never ends as if all were well without an answer
            let last = match AssertUnwindSafe(taken).catch_unwind().await {
                Ok(last) => last,
                Err(_) => Err(CoordinatorError::Crashed("taking an upload").into()),
            };
            // a device that has gone away needs no answer
            let _ = answers.send(last).await;
        });
        Ok(Response::new(ReceiverStream::new(stream).boxed()))
    }
}

/// Takes one upload from header to receipt; its last answer.
async fn take_upload(
    runs: &Arc<Runs>,
    uploads: &Arc<Uploads>,
    mut parts: Streaming<UploadRequest>,
    answers: &mpsc::Sender<Answer>,
    stranger: Stranger,
) -> Answer {
    let received = receive(runs, uploads, &mut parts, answers, stranger).await;
    let counted = match received {
        Ok(upload) => count(&runs.core, upload).await,
        Err(refusal) => Err(refusal),
    };
    let answer = match counted {
        Ok(receipt) => upload_response::Answer::Receipt(receipt),
        Err(UploadRefusal::Reject(reject)) => {
            runs.core.telemetry.rejected(reject.reason());
            upload_response::Answer::Reject(reject)
        }
        Err(UploadRefusal::Status(status)) => return Err(*status),
    };
    Ok(UploadResponse {
        answer: Some(answer),
    })
}

enum UploadRefusal {
    Reject(Reject),
    Status(Box<Status>),
}

impl From<CoordinatorError> for UploadRefusal {
    fn from(error: CoordinatorError) -> Self {
        Self::Status(Box::new(error.into()))
    }
}

impl From<Reject> for UploadRefusal {
    fn from(reject: Reject) -> Self {
        Self::Reject(reject)
    }
}

fn protocol(message: &str) -> UploadRefusal {
    let reason = RejectReason::Protocol.into();
    UploadRefusal::Reject(Reject {
        reason,
        message: message.to_owned(),
        ..Reject::default()
    })
}

/// The header, which must come soon.
async fn header(
    core: &Core,
    parts: &mut Streaming<UploadRequest>,
    stranger: &Stranger,
) -> Result<UploadHeader, UploadRefusal> {
    let late = CoordinatorError::Slow {
        what: "the header of an upload",
        remedy: "send it first, at once",
    };
    let first = stranger.first(parts.message(), core.hello(), late).await;
    let first = first.map_err(|status| UploadRefusal::Status(Box::new(status)))?;
    match first.and_then(|first| first.part) {
        Some(upload_request::Part::Header(header)) => Ok(header),
        _ => Err(protocol(
            "the first part is no header: send the header first",
        )),
    }
}

async fn receive(
    runs: &Runs,
    uploads: &Arc<Uploads>,
    parts: &mut Streaming<UploadRequest>,
    answers: &mpsc::Sender<Answer>,
    stranger: Stranger,
) -> Result<Upload, UploadRefusal> {
    let core = &runs.core;
    let header = header(core, parts, &stranger).await?;
    let (device, _) = core.fleet.authenticate(header.credentials.as_ref())?;
    drop(stranger);
    core.fleet.answered(&device, |order| {
        matches!(order, Order::Assignment(order)
            if order.run_id == header.run_id && order.round == header.round)
    });
    let mut upload = uploads.begin(runs, device, &header).await?;
    let accepted = UploadAccepted {
        offset: upload.offset(),
    };
    let accepted = upload_response::Answer::Accepted(accepted);
    // one that has gone away is noticed when no bytes come
    let _ = answers
        .send(Ok(UploadResponse {
            answer: Some(accepted),
        }))
        .await;
    let until = Instant::now() + upload.patience();
    while !upload.is_complete() {
        let next = until.min(Instant::now() + STALLED);
        let part = tokio::select! {
            biased;
            () = core.stopping.cancelled() => return Err(CoordinatorError::Stopping.into()),
            () = upload.sent_away() => return Err(busy().into()),
            part = tokio::time::timeout_at(next, parts.message()) => part,
        };
        let chunk = match part {
            Ok(Ok(Some(part))) => match part.part {
                Some(upload_request::Part::Chunk(chunk)) => chunk,
                _ => return Err(protocol("a part after the header is no chunk: send chunks")),
            },
            ended => return Err(interrupted(uploads, upload, ended)),
        };
        upload.push(chunk.offset, &chunk.data).await?;
        core.telemetry
            .bytes_up
            .fetch_add(chunk.data.len() as u64, Ordering::Relaxed);
    }
    Ok(upload)
}

/// Keeps what came of an upload that broke off, and says what became of it.
fn interrupted(
    uploads: &Arc<Uploads>,
    upload: Upload,
    ended: Result<Result<Option<UploadRequest>, Status>, Elapsed>,
) -> UploadRefusal {
    let (got, size) = (upload.offset(), upload.size());
    uploads.keep(upload);
    match ended {
        Err(_) => CoordinatorError::Slow {
            what: "the next chunk of an upload",
            remedy: "begin it again: it goes on where it ended",
        }
        .into(),
        Ok(Err(status)) => UploadRefusal::Status(Box::new(unreadable(&status))),
        Ok(Ok(_)) => CoordinatorError::Incomplete { got, size }.into(),
    }
}

async fn count(core: &Core, upload: Upload) -> Result<Receipt, UploadRefusal> {
    let (run, device, round) = (upload.run.clone(), upload.device.clone(), upload.round);
    let header = upload.header;
    let (digest, bytes, permit) = upload.finish()?;
    let counting = run.contribute(device, round, header, (digest, bytes), permit);
    let counted = core
        .counting
        .track_future(counting)
        .await
        .map_err(wire_refusal)?;
    Ok(Receipt {
        run_id: run.id.to_string(),
        round,
        segment_id: counted.segment_id,
        digest: counted.digest.to_string(),
        ticket: Some(counted.ticket),
    })
}
