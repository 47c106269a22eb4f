//! A device whose every message is chosen by the test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use tributary_aggregator::Codec;
use tributary_model::Digest;
use tributary_proto::v1::connect_response::Message;
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::enrolment_service_client::EnrolmentServiceClient;
use tributary_proto::v1::orchestration_service_client::OrchestrationServiceClient;
use tributary_proto::v1::transfer_service_client::TransferServiceClient;
use tributary_proto::v1::upload_request::Part;
use tributary_proto::v1::upload_response::Answer;
use tributary_proto::v1::{
    Assignment, CheckInRequest, CheckInResponse, ConnectRequest, ConnectResponse, Credentials,
    DeviceEvent, DeviceProfile, EnrolRequest, Hello, Receipt, Reject, RejectReason, Ticket,
    UploadChunk, UploadHeader, UploadRequest, connect_request, device_event,
};

use super::recipe::{PARAMETERS, TASK};
use super::within;

/// An enrolled device.
#[derive(Clone)]
pub struct Hand {
    pub id: String,
    pub token: Bytes,
    pub channel: Channel,
    /// The newest receipt's ticket of each run and monitor, which it shows when it comes back.
    pub tickets: Arc<Mutex<BTreeMap<String, Ticket>>>,
}

/// An open stream.
pub struct Session {
    events: mpsc::Sender<ConnectRequest>,
    answers: Streaming<ConnectResponse>,
}

/// What an enrolment says.
pub fn enrolment(id: &str, region: &str) -> EnrolRequest {
    EnrolRequest {
        device_id: id.to_owned(),
        token: token(id),
        region: region.to_owned(),
        profile: Some(DeviceProfile {
            name: "by-hand".to_owned(),
            core: "cortex-m4".to_owned(),
            ram_bytes: 65_536,
            flash_slot_bytes: 65_536,
            formats: Vec::new(),
        }),
        tasks: vec![TASK.to_owned()],
    }
}

fn token(id: &str) -> Bytes {
    Bytes::copy_from_slice(Digest::of(id.as_bytes()).as_bytes())
}

impl Hand {
    /// Enrols a device.
    pub async fn enrol(channel: &Channel, id: &str, region: &str) -> Self {
        let mut client = EnrolmentServiceClient::new(channel.clone());
        client.enrol(enrolment(id, region)).await.unwrap();
        Self {
            id: id.to_owned(),
            token: token(id),
            channel: channel.clone(),
            tickets: Arc::default(),
        }
    }

    /// The same device without what it has kept of its answers.
    pub fn forgetful(&self) -> Self {
        Self {
            tickets: Arc::default(),
            ..self.clone()
        }
    }

    /// The same device over another connection.
    pub fn over(&self, channel: &Channel) -> Self {
        Self {
            channel: channel.clone(),
            ..self.clone()
        }
    }

    pub fn credentials(&self) -> Credentials {
        Credentials {
            device_id: self.id.clone(),
            token: self.token.clone(),
        }
    }

    pub fn hello(&self) -> Hello {
        Hello {
            credentials: Some(self.credentials()),
            model_digest: String::new(),
            tickets: self.tickets.lock().unwrap().values().cloned().collect(),
        }
    }

    /// Opens a stream.
    pub async fn connect(&self) -> Session {
        let hello = connect_request::Message::Hello(self.hello());
        let (events, mut answers) = open_stream(&self.channel, Some(hello)).await.unwrap();
        let first = within("a welcome", answers.message()).await.unwrap();
        let Some(Message::Welcome(_)) = first.and_then(|first| first.message) else {
            panic!("{} was not welcomed", self.id);
        };
        Session { events, answers }
    }

    /// One poll.
    pub async fn check_in(&self, events: Vec<DeviceEvent>) -> Result<CheckInResponse, Status> {
        let mut client = OrchestrationServiceClient::new(self.channel.clone());
        let request = CheckInRequest {
            hello: Some(self.hello()),
            events,
            ..CheckInRequest::default()
        };
        Ok(client.check_in(request).await?.into_inner())
    }

    /// The header of an honest upload.
    pub fn header(&self, order: &Assignment, update: &[u8]) -> UploadHeader {
        UploadHeader {
            credentials: Some(self.credentials()),
            run_id: order.run_id.clone(),
            round: order.round,
            digest: Digest::of(update).to_string(),
            size: update.len() as u64,
            codec: "f32".to_owned(),
            model_digest: order.model_digest.clone(),
            ..Default::default()
        }
    }

    /// Sends parts as they are and returns the answers.
    pub async fn send(&self, parts: Vec<Part>) -> Result<Vec<Answer>, Status> {
        let mut client = TransferServiceClient::new(self.channel.clone());
        let parts = parts
            .into_iter()
            .map(|part| UploadRequest { part: Some(part) });
        let parts: Vec<_> = parts.collect();
        let sending = async {
            let mut answers = client.upload(tokio_stream::iter(parts)).await?.into_inner();
            let mut all = Vec::new();
            while let Some(answer) = answers.message().await? {
                all.push(answer.answer.unwrap());
            }
            Ok(all)
        };
        within("the answers to an upload", sending).await
    }

    /// Sends a header and all bytes; the last answer.
    pub async fn upload_as(&self, header: UploadHeader, update: &[u8]) -> Result<Answer, Status> {
        let mut answers = self
            .send(vec![Part::Header(header), chunk(0, update)])
            .await?;
        Ok(answers.pop().expect("an upload is always answered"))
    }

    /// Sends an honest upload that must be counted.
    pub async fn counted(&self, order: &Assignment, update: &[u8]) -> Receipt {
        match self
            .upload_as(self.header(order, update), update)
            .await
            .unwrap()
        {
            Answer::Receipt(receipt) => {
                if let Some(ticket) = receipt.ticket.clone() {
                    let mut tickets = self.tickets.lock().unwrap();
                    tickets.insert(ticket.subject.clone(), ticket);
                }
                receipt
            }
            other => panic!("{}: expected a receipt, got {other:?}", self.id),
        }
    }

    /// Sends an upload that must be refused for `reason`.
    pub async fn refused(
        &self,
        header: UploadHeader,
        update: &[u8],
        reason: RejectReason,
    ) -> Reject {
        let answer = self.upload_as(header, update).await.unwrap();
        rejected(answer, reason)
    }
}

/// A refusal of this reason, with a sentence for the device.
pub fn rejected(answer: Answer, reason: RejectReason) -> Reject {
    let Answer::Reject(reject) = answer else {
        panic!("expected {reason:?}, got {answer:?}")
    };
    assert_eq!(reject.reason(), reason, "{reject:?}");
    assert!(reject.message.len() > 10, "no sentence: {reject:?}");
    reject
}

/// A chunk.
pub fn chunk(offset: u64, bytes: &[u8]) -> Part {
    Part::Chunk(UploadChunk {
        offset,
        data: Bytes::copy_from_slice(bytes),
    })
}

/// A message as it travels.
pub fn bytes_of(message: &impl prost::Message) -> Vec<u8> {
    message.encode_to_vec()
}

/// Opens a stream that begins with any message, or ends at once without one.
pub async fn open_stream(
    channel: &Channel,
    first: Option<connect_request::Message>,
) -> Result<(mpsc::Sender<ConnectRequest>, Streaming<ConnectResponse>), Status> {
    let (events, requests) = mpsc::channel(16);
    let is_empty = first.is_none();
    if !is_empty {
        events
            .send(ConnectRequest { message: first })
            .await
            .unwrap();
    }
    let mut client = OrchestrationServiceClient::new(channel.clone());
    let requests: std::pin::Pin<Box<dyn tokio_stream::Stream<Item = ConnectRequest> + Send>> =
        if is_empty {
            Box::pin(tokio_stream::empty())
        } else {
            Box::pin(ReceiverStream::new(requests))
        };
    let answers = within("an answer to a hello", client.connect(requests)).await?;
    Ok((events, answers.into_inner()))
}

impl Session {
    /// Reads to the end; the status that ended it.
    pub async fn end(&mut self) -> Status {
        loop {
            match self.answers.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the session ended without a word"),
                Err(status) => return status,
            }
        }
    }

    /// The next order.
    pub async fn order(&mut self) -> Order {
        let next = within("an order", self.answers.message()).await.unwrap();
        match next.and_then(|next| next.message) {
            Some(Message::Directive(directive)) => directive.directive.unwrap(),
            other => panic!("expected an order, got {other:?}"),
        }
    }

    /// The next order; none once the stream has ended.
    pub async fn next_order(&mut self) -> Option<Order> {
        let next = self.answers.message().await.ok().flatten()?;
        match next.message? {
            Message::Directive(directive) => directive.directive,
            Message::Welcome(_) => None,
        }
    }

    /// The next assignment; announcements of versions are passed over.
    pub async fn assignment(&mut self) -> Assignment {
        loop {
            match self.order().await {
                Order::Assignment(assignment) => return assignment,
                Order::ModelPublished(_) => {}
                other => panic!("expected an assignment, got {other:?}"),
            }
        }
    }

    /// True when nothing comes for a while.
    pub async fn is_silent(&mut self) -> bool {
        let wait = std::time::Duration::from_millis(400);
        tokio::time::timeout(wait, self.answers.message())
            .await
            .is_err()
    }

    /// Says that something happened.
    pub async fn tell(&self, event: device_event::Event) {
        let message = connect_request::Message::Event(DeviceEvent { event: Some(event) });
        self.say(message).await;
    }

    /// Sends any message.
    pub async fn say(&self, message: connect_request::Message) {
        self.events
            .send(ConnectRequest {
                message: Some(message),
            })
            .await
            .unwrap();
    }
}

/// Devices `d-0`, `d-1`, ... that alternate between `eu` and `us`, each with an open stream.
pub async fn hands(channel: &Channel, count: usize) -> Vec<(Hand, Session)> {
    let mut devices = Vec::with_capacity(count);
    for number in 0..count {
        let region = if number.is_multiple_of(2) { "eu" } else { "us" };
        let hand = Hand::enrol(channel, &format!("d-{number}"), region).await;
        let session = hand.connect().await;
        devices.push((hand, session));
    }
    devices
}

/// A delta of L2 norm 0.5, another for each number.
pub fn delta(number: u64) -> Vec<f32> {
    let raw = |index: u64| ((index * 37 + number * 17 + index * number) % 101) as f32 - 50.0;
    let values: Vec<f32> = (0..PARAMETERS as u64).map(raw).collect();
    let norm = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.into_iter().map(|value| value * 0.5 / norm).collect()
}

/// The same as it travels.
pub fn update(number: u64) -> Vec<u8> {
    encoded(&delta(number))
}

/// Values as `f32` sends them.
pub fn encoded(values: &[f32]) -> Vec<u8> {
    Codec::F32.encode(values, &mut ChaCha20Rng::from_seed([0; 32]))
}
