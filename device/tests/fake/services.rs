//! The three services that devices use.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tributary_aggregator::{Codec, FixedPoint, UpdateError};
use tributary_model::Digest;
use tributary_privacy::VectorError;
use tributary_proto::v1::connect_request::Message as Up;
use tributary_proto::v1::connect_response::Message as Down;
use tributary_proto::v1::enrolment_service_server::EnrolmentService;
use tributary_proto::v1::orchestration_service_server::OrchestrationService;
use tributary_proto::v1::transfer_service_server::TransferService;
use tributary_proto::v1::upload_request::Part;
use tributary_proto::v1::upload_response::Answer;
use tributary_proto::v1::*;

use super::world::{UploadKey, World};

#[derive(Clone)]
pub struct Services(pub Arc<World>);

type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Services {
    fn check(&self, credentials: Option<&Credentials>) -> Result<String, Status> {
        let credentials = credentials.ok_or_else(|| Status::unauthenticated("no credentials"))?;
        let known = self.0.with(|memory| {
            memory
                .tokens
                .get(&credentials.device_id)
                .is_some_and(|t| *t == credentials.token)
        });
        if known {
            Ok(credentials.device_id.clone())
        } else {
            Err(Status::unauthenticated("enrol first"))
        }
    }
}

#[tonic::async_trait]
impl EnrolmentService for Services {
    async fn enrol(
        &self,
        request: Request<EnrolRequest>,
    ) -> Result<Response<EnrolResponse>, Status> {
        let request = request.into_inner();
        self.0.with(|memory| {
            memory.enrolments += 1;
            if memory.refuse_enrolment {
                return Err(Status::already_exists("device_id belongs to another token"));
            }
            memory
                .tokens
                .insert(request.device_id, request.token.to_vec());
            Ok(())
        })?;
        let build_key = self.0.key.verifying_key().to_bytes().to_vec().into();
        Ok(Response::new(EnrolResponse {
            region: request.region,
            build_key,
        }))
    }
}

#[tonic::async_trait]
impl OrchestrationService for Services {
    type ConnectStream = Out<ConnectResponse>;

    async fn connect(
        &self,
        request: Request<Streaming<ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let peer = request.remote_addr();
        let mut messages = request.into_inner();
        let Some(Up::Hello(hello)) = messages.message().await?.and_then(|m| m.message) else {
            return Err(Status::invalid_argument("no hello"));
        };
        let device = self.check(hello.credentials.as_ref())?;
        let (sender, receiver) = mpsc::channel(8);
        let heartbeat_ms = self.0.with(|memory| memory.heartbeat_ms);
        let welcome = Welcome {
            region: "eu".to_owned(),
            heartbeat_ms,
        };
        let welcome = ConnectResponse {
            message: Some(Down::Welcome(welcome)),
        };
        sender
            .send(Ok(welcome))
            .await
            .map_err(|_| Status::cancelled("gone"))?;
        self.0.with(|memory| {
            memory.hellos.push(hello);
            memory.peers.extend(peer);
            memory.sessions.insert(device.clone(), sender);
        });
        let world = Arc::clone(&self.0);
        tokio::spawn(async move {
            while let Ok(Some(message)) = messages.message().await {
                if let Some(Up::Event(DeviceEvent { event: Some(event) })) = message.message {
                    world.with(|memory| memory.events.push((device.clone(), event)));
                }
            }
            world.with(|memory| memory.sessions.remove(&device));
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn check_in(
        &self,
        request: Request<CheckInRequest>,
    ) -> Result<Response<CheckInResponse>, Status> {
        let request = request.into_inner();
        let hello = request.hello.unwrap_or_default();
        let device = self.check(hello.credentials.as_ref())?;
        let response = self.0.with(|memory| {
            memory.polls.push(std::time::Instant::now());
            let events = request.events.into_iter().filter_map(|event| event.event);
            memory
                .events
                .extend(events.map(|event| (device.clone(), event)));
            let orders = memory.poll_orders.remove(&device).unwrap_or_default();
            let directives = orders
                .into_iter()
                .map(|order| Directive {
                    directive: Some(order),
                })
                .collect();
            let (retry_after_ms, retry_before_ms) = memory.retry_ms;
            CheckInResponse {
                directives,
                retry_after_ms,
                retry_before_ms,
                ..CheckInResponse::default()
            }
        });
        Ok(Response::new(response))
    }
}

#[tonic::async_trait]
impl TransferService for Services {
    type DownloadStream = Out<DownloadResponse>;
    type UploadStream = Out<UploadResponse>;

    async fn download(
        &self,
        request: Request<DownloadRequest>,
    ) -> Result<Response<Self::DownloadStream>, Status> {
        let request = request.into_inner();
        self.check(request.credentials.as_ref())?;
        let (bytes, cut, damage, stall) = self.0.with(|memory| {
            memory
                .downloads
                .push((request.digest.clone(), request.offset));
            let bytes = memory.objects.get(&request.digest).cloned();
            let cut = bytes
                .is_some()
                .then(|| memory.break_downloads.pop_front())
                .flatten();
            let stall = memory.stall_downloads.contains(&request.digest);
            (bytes, cut, memory.damage_downloads, stall)
        });
        let bytes = bytes.ok_or_else(|| Status::not_found("no such object"))?;
        let total = bytes.len() as u64;
        let start = request.offset as usize;
        let end = cut.map_or(bytes.len(), |cut| bytes.len().min(start + cut));
        let mut pieces = Vec::new();
        for offset in (start..end).step_by(1000) {
            let mut data = bytes[offset..end.min(offset + 1000)].to_vec();
            if damage {
                data[0] ^= 1;
            }
            pieces.push(Ok(DownloadResponse {
                offset: offset as u64,
                total,
                data: data.into(),
            }));
        }
        if cut.is_some() {
            pieces.push(Err(Status::unavailable("cut")));
        }
        if stall {
            let first = tokio_stream::iter(pieces.into_iter().take(1));
            return Ok(Response::new(Box::pin(
                first.chain(futures::stream::pending()),
            )));
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(pieces))))
    }

    async fn upload(
        &self,
        request: Request<Streaming<UploadRequest>>,
    ) -> Result<Response<Self::UploadStream>, Status> {
        let mut parts = request.into_inner();
        let Some(Part::Header(header)) = parts.message().await?.and_then(|part| part.part) else {
            return Err(Status::invalid_argument("no header"));
        };
        let device = self.check(header.credentials.as_ref())?;
        self.0.with(|memory| memory.headers.push(header.clone()));
        let (sender, receiver) = mpsc::channel(4);
        let services = self.clone();
        tokio::spawn(async move {
            let key = (header.run_id.clone(), header.round, device);
            let last = services.take(&header, key, parts, &sender).await;
            let last = last.map(|answer| UploadResponse {
                answer: Some(answer),
            });
            let _ = sender.send(last).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

fn reject(reason: RejectReason) -> Answer {
    let message = format!("{reason:?}");
    Answer::Reject(Reject {
        reason: reason.into(),
        message,
        ..Reject::default()
    })
}

/// A refusal of what was counted already, which names that.
fn duplicate(counted: &[u8]) -> Answer {
    Answer::Reject(Reject {
        reason: RejectReason::Duplicate.into(),
        digest: Digest::of(counted).to_string(),
        ..Reject::default()
    })
}

impl Services {
    async fn take(
        &self,
        header: &UploadHeader,
        key: UploadKey,
        mut parts: Streaming<UploadRequest>,
        sender: &mpsc::Sender<Result<UploadResponse, Status>>,
    ) -> Result<Answer, Status> {
        if let Some(reject) = self.before_bytes(header, &key) {
            return Ok(reject);
        }
        let mut received = self.0.with(|m| m.partial.remove(&key)).unwrap_or_default();
        let cut = self.0.with(|memory| memory.break_uploads.pop_front());
        let accepted = Answer::Accepted(UploadAccepted {
            offset: received.len() as u64,
        });
        let _ = sender
            .send(Ok(UploadResponse {
                answer: Some(accepted),
            }))
            .await;
        while let Some(part) = parts.message().await? {
            let Some(Part::Chunk(chunk)) = part.part else {
                return Ok(reject(RejectReason::Protocol));
            };
            assert_eq!(chunk.offset, received.len() as u64);
            received.extend_from_slice(&chunk.data);
            if self.0.with(|memory| {
                memory.stalled += usize::from(memory.stall_uploads);
                memory.stall_uploads
            }) {
                std::future::pending::<()>().await;
            }
            if cut.is_some_and(|cut| received.len() >= cut) {
                self.0.with(|memory| memory.partial.insert(key, received));
                return Err(Status::unavailable("cut"));
            }
        }
        if let Some(reason) = self.judge(header, &received) {
            return Ok(reject(reason));
        }
        let withheld = self.0.with(|memory| {
            memory.counted.insert(key, received);
            memory.withhold_receipts
        });
        if withheld {
            return Err(Status::unavailable("killed before the receipt"));
        }
        let (run_id, round) = (header.run_id.clone(), header.round);
        Ok(Answer::Receipt(Receipt {
            run_id,
            round,
            segment_id: "s".to_owned(),
            digest: header.digest.clone(),
            ..Receipt::default()
        }))
    }

    fn before_bytes(&self, header: &UploadHeader, key: &UploadKey) -> Option<Answer> {
        self.0.with(|memory| {
            if let Some(scripted) = memory.rejects.pop_front() {
                return Some(Answer::Reject(scripted));
            }
            if !memory.runs.contains_key(&header.run_id) {
                return Some(reject(RejectReason::UnknownRun));
            }
            if let Some(counted) = memory.counted.get(key) {
                return Some(duplicate(counted));
            }
            let over = memory
                .lease_end
                .is_some_and(|end| std::time::Instant::now() >= end);
            over.then(|| reject(RejectReason::LeaseExpired))
        })
    }

    fn judge(&self, header: &UploadHeader, received: &[u8]) -> Option<RejectReason> {
        if Digest::of(received).to_string() != header.digest {
            return Some(RejectReason::WrongDigest);
        }
        let (plan, dimension) = self.0.with(|memory| {
            let plan = memory.runs.get(&header.run_id).cloned()?;
            let other = memory.dimensions.get(&header.run_id).copied();
            let dimension = other.unwrap_or(plan.parameters as usize);
            Some((plan, dimension))
        })?;
        let codec: Codec = header.codec.parse().unwrap();
        let clip = if plan.wire_clip > 0.0 {
            plan.wire_clip
        } else {
            plan.clip
        };
        let fixed = FixedPoint::new(clip, dimension).unwrap();
        match fixed.contribution(codec, received) {
            Ok(_) => None,
            Err(UpdateError::WrongLength { .. }) => Some(RejectReason::WrongLayout),
            Err(UpdateError::Vector(VectorError::NotFinite { .. })) => {
                Some(RejectReason::NotFinite)
            }
            Err(_) => Some(RejectReason::NormTooLarge),
        }
    }
}
