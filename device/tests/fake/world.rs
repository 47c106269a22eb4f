//! What the fake coordinator remembers and what it was told to do wrong.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use tokio::sync::{mpsc, watch};
use tonic::Status;
use tributary_device::signed_text;
use tributary_model::Digest;
use tributary_proto::v1::connect_response::Message;
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::{
    Assignment, BuildOffer, ConnectResponse, Directive, Hello, Reject, TrainingPlan, UploadHeader,
};

pub type Session = mpsc::Sender<Result<ConnectResponse, Status>>;
pub type UploadKey = (String, u32, String);

#[derive(Default)]
pub struct Memory {
    pub tokens: BTreeMap<String, Vec<u8>>,
    pub enrolments: usize,
    pub refuse_enrolment: bool,
    pub objects: BTreeMap<String, Bytes>,
    pub sessions: BTreeMap<String, Session>,
    pub hellos: Vec<Hello>,
    pub peers: BTreeSet<SocketAddr>,
    pub events: Vec<(String, Event)>,
    pub polls: Vec<Instant>,
    pub poll_orders: BTreeMap<String, Vec<Order>>,
    pub downloads: Vec<(String, u64)>,
    /// Break that many of the next downloads, each after so many bytes.
    pub break_downloads: VecDeque<usize>,
    /// Objects of which nothing but the first piece ever comes.
    pub stall_downloads: BTreeSet<String>,
    /// Flip a bit of every download.
    pub damage_downloads: bool,
    pub headers: Vec<UploadHeader>,
    pub partial: BTreeMap<UploadKey, Vec<u8>>,
    pub counted: BTreeMap<UploadKey, Vec<u8>>,
    /// Break that many of the next uploads, each after so many bytes.
    pub break_uploads: VecDeque<usize>,
    /// Take the first chunk of every upload and never answer.
    pub stall_uploads: bool,
    /// Uploads that wait so.
    pub stalled: usize,
    /// Answer the next headers with these.
    pub rejects: VecDeque<Reject>,
    /// Never send a receipt, as if killed between seal and answer.
    pub withhold_receipts: bool,
    /// Runs that exist, with the plan.
    pub runs: BTreeMap<String, TrainingPlan>,
    /// Values in a run's payloads, where they are not the plan's parameters.
    pub dimensions: BTreeMap<String, usize>,
    /// Leases end then.
    pub lease_end: Option<Instant>,
    pub retry_ms: (u64, u64),
    pub heartbeat_ms: u64,
}

pub struct World {
    memory: Mutex<Memory>,
    changed: watch::Sender<u64>,
    pub key: SigningKey,
}

impl Default for World {
    fn default() -> Self {
        Self {
            memory: Mutex::default(),
            changed: watch::Sender::new(0),
            key: SigningKey::from_bytes(&[5; 32]),
        }
    }
}

impl World {
    pub fn with<T>(&self, change: impl FnOnce(&mut Memory) -> T) -> T {
        let result = change(&mut self.memory.lock().unwrap());
        self.changed.send_modify(|version| *version += 1);
        result
    }

    /// Waits until `seen` gives a value; panics after a minute with a message.
    pub async fn wait<T>(&self, what: &str, mut seen: impl FnMut(&Memory) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        let waiting = async {
            loop {
                changed.borrow_and_update();
                if let Some(value) = seen(&self.memory.lock().unwrap()) {
                    return value;
                }
                changed.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(Duration::from_secs(60), waiting).await {
            Ok(value) => value,
            Err(_) => panic!("waited in vain for {what}"),
        }
    }

    pub fn put(&self, bytes: Vec<u8>) -> String {
        let digest = Digest::of(&bytes).to_string();
        self.with(|memory| memory.objects.insert(digest.clone(), Bytes::from(bytes)));
        digest
    }

    /// Sends an order on a device's stream once that is open.
    pub async fn order(&self, device: &str, order: Order) {
        let session = self
            .wait("a session", |memory| {
                memory
                    .sessions
                    .get(device)
                    .filter(|session| !session.is_closed())
                    .cloned()
            })
            .await;
        let directive = Directive {
            directive: Some(order),
        };
        let message = Some(Message::Directive(directive));
        session.send(Ok(ConnectResponse { message })).await.unwrap();
    }

    pub async fn counted(&self, run: &str, round: u32, device: &str) -> Vec<u8> {
        let key = (run.to_owned(), round, device.to_owned());
        self.wait("a counted upload", |memory| {
            memory.counted.get(&key).cloned()
        })
        .await
    }

    /// Waits for the next event of a device and takes it.
    pub async fn event(&self, device: &str) -> Event {
        let find = |memory: &Memory| memory.events.iter().position(|(from, _)| from == device);
        let index = self.wait("an event", find).await;
        self.with(|memory| memory.events.remove(index).1)
    }

    pub fn offer(&self, bytes: &[u8], arena_bytes: u64) -> BuildOffer {
        let digest = Digest::of(bytes);
        BuildOffer {
            build_digest: digest.to_string(),
            size: bytes.len() as u64,
            format: tributary_device::INT8_FORMAT.to_owned(),
            arena_bytes,
            signature: Bytes::copy_from_slice(
                &self.key.sign(signed_text(&digest).as_bytes()).to_bytes(),
            ),
            model_digest: format!("model-of-{}", digest.short()),
            task: "watch".to_owned(),
        }
    }
}

pub fn assignment(run: &str, round: u32, plan: &TrainingPlan, model_digest: &str) -> Order {
    Order::Assignment(Assignment {
        run_id: run.to_owned(),
        round,
        plan: Some(plan.clone()),
        model_digest: model_digest.to_owned(),
        lease_ms: 60_000,
        attempt: 1,
        ..Assignment::default()
    })
}
