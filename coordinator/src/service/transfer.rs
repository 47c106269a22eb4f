//! Downloads and uploads.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tributary_model::Digest;
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::transfer_service_server::TransferService;
use tributary_proto::v1::{
    DownloadRequest, DownloadResponse, Receipt, Reject, RejectReason, UploadAccepted,
    UploadRequest, UploadResponse, upload_request, upload_response,
};

use super::Answers;
use super::upload::{Upload, Uploads, wire_refusal};
use crate::core::Core;
use crate::error::CoordinatorError;

/// Bytes per piece of a download.
const PIECE: usize = 256 * 1024;
/// A device that sends nothing for so long has gone away.
const STALLED: Duration = Duration::from_secs(60);
/// Answers that may wait for a device.
const WAITING: usize = 4;

/// The transfer service.
pub struct Transfer {
    core: Arc<Core>,
    uploads: Arc<Uploads>,
}

impl Transfer {
    /// The service of a coordinator.
    pub fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            uploads: Arc::default(),
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
            self.core.fleet.authenticate(request.credentials.as_ref())?;
        }
        let digest: Digest = request
            .digest
            .parse()
            .map_err(|_| CoordinatorError::Invalid {
                field: "digest",
                problem: "is no SHA-256".to_owned(),
                remedy: "send 64 hex characters",
            })?;
        let object = self.core.open_object(&digest).await?;
        let total = object.size();
        if request.offset > total {
            return Err(CoordinatorError::Invalid {
                field: "offset",
                problem: format!("is {}", request.offset),
                remedy: "use at most the object's length",
            }
            .into());
        }
        let core = self.core.clone();
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
        Ok(Response::new(Box::pin(pieces)))
    }

    async fn upload(
        &self,
        request: Request<Streaming<UploadRequest>>,
    ) -> Result<Response<Self::UploadStream>, Status> {
        let (answers, stream) = mpsc::channel(WAITING);
        let (core, uploads) = (self.core.clone(), self.uploads.clone());
        tokio::spawn(take_upload(core, uploads, request.into_inner(), answers));
        Ok(Response::new(ReceiverStream::new(stream).boxed()))
    }
}

/// Takes one upload from header to receipt.
async fn take_upload(
    core: Arc<Core>,
    uploads: Arc<Uploads>,
    mut parts: Streaming<UploadRequest>,
    answers: mpsc::Sender<Answer>,
) {
    let answer = match receive(&core, &uploads, &mut parts, &answers).await {
        Ok(Some(upload)) => count(upload).await,
        // the device went away; what it sent is kept for its return
        Ok(None) => return,
        Err(Refusal::Status(status)) => {
            // a device that has gone away needs no answer
            let _ = answers.send(Err(status)).await;
            return;
        }
        Err(Refusal::Reject(reject)) => Err(reject),
    };
    let answer = match answer {
        Ok(receipt) => upload_response::Answer::Receipt(receipt),
        Err(reject) => {
            core.telemetry.rejected(reject.reason());
            upload_response::Answer::Reject(reject)
        }
    };
    let _ = answers
        .send(Ok(UploadResponse {
            answer: Some(answer),
        }))
        .await;
}

enum Refusal {
    Reject(Reject),
    Status(Status),
}

impl From<Reject> for Refusal {
    fn from(reject: Reject) -> Self {
        Self::Reject(reject)
    }
}

fn protocol(message: &str) -> Refusal {
    let reason = RejectReason::Protocol.into();
    Refusal::Reject(Reject {
        reason,
        message: message.to_owned(),
        ..Reject::default()
    })
}

async fn receive(
    core: &Core,
    uploads: &Uploads,
    parts: &mut Streaming<UploadRequest>,
    answers: &mpsc::Sender<Answer>,
) -> Result<Option<Upload>, Refusal> {
    let Ok(Some(first)) = parts.message().await else {
        return Ok(None);
    };
    let Some(upload_request::Part::Header(header)) = first.part else {
        return Err(protocol(
            "the first part is no header: send the header first",
        ));
    };
    let device = core.fleet.authenticate(header.credentials.as_ref());
    let (device, _) = device.map_err(|error| Refusal::Status(error.into()))?;
    core.fleet.answered(&device, |order| {
        matches!(order, Order::Assignment(order)
            if order.run_id == header.run_id && order.round == header.round)
    });
    let mut upload = uploads.begin(core, device, &header).await?;
    let accepted = UploadAccepted {
        offset: upload.offset(),
    };
    let accepted = upload_response::Answer::Accepted(accepted);
    if answers
        .send(Ok(UploadResponse {
            answer: Some(accepted),
        }))
        .await
        .is_err()
    {
        uploads.keep(upload);
        return Ok(None);
    }
    let until = tokio::time::Instant::now() + upload.patience();
    while !upload.is_complete() {
        let next = until.min(tokio::time::Instant::now() + STALLED);
        let part = tokio::time::timeout_at(next, parts.message()).await;
        let Ok(Ok(Some(part))) = part else {
            uploads.keep(upload);
            return Ok(None);
        };
        let Some(upload_request::Part::Chunk(chunk)) = part.part else {
            return Err(protocol("a part after the header is no chunk: send chunks"));
        };
        upload.push(chunk.offset, &chunk.data)?;
        core.telemetry
            .bytes_up
            .fetch_add(chunk.data.len() as u64, Ordering::Relaxed);
    }
    Ok(Some(upload))
}

async fn count(upload: Upload) -> Result<Receipt, Reject> {
    let (run, device, round) = (upload.run.clone(), upload.device.clone(), upload.round);
    let header = upload.header;
    let (digest, bytes, permit) = upload.finish()?;
    let counted = run
        .contribute(device, round, header, (digest, bytes), Some(permit))
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
