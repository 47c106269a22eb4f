//! A coordinator, a run and one device.

use std::sync::Arc;

use tributary_aggregator::Codec;
use tributary_device::{DeviceMemory, MemorySlots, SessionMode, VolatileMemory};
use tributary_model::{FastEngine, ModelFile};
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::local_algorithm::Kind as AlgorithmKind;
use tributary_proto::v1::personalisation::Kind as PersonalKind;
use tributary_proto::v1::{
    Assignment, LocalAlgorithm, Personalisation, Reject, RejectReason, TrainingPlan, UploadHeader,
};

use crate::fake::setting::{Kept, Running, model, plan, start_keeping};
use crate::fake::world::assignment;
use crate::fake::{FakeServer, Memory};

pub const FEATURES: usize = 6;
pub const RUN: &str = "run-1";
pub const DEVICE: &str = "d-1";

/// What arrived in a round.
pub struct Sent {
    pub values: Vec<f32>,
    pub header: UploadHeader,
}

pub struct Stage {
    pub server: FakeServer,
    pub model: ModelFile,
    pub plan: TrainingPlan,
    pub agent: Running,
}

impl Stage {
    /// Three full-batch steps of rate 0.1 under a clip that does not bind.
    pub async fn new() -> Self {
        Self::remembering(Arc::new(VolatileMemory::default())).await
    }

    pub async fn remembering(memory: Arc<dyn DeviceMemory>) -> Self {
        Self::keeping(5, remembering(memory)).await
    }

    /// A model with so many hidden units and a device with all that it keeps.
    pub async fn keeping(hidden: u32, kept: Kept) -> Self {
        let server = FakeServer::start().await;
        let model = model(FEATURES, hidden);
        let plan = TrainingPlan {
            epochs: 3,
            batch_size: 64,
            clip: 100.0,
            ..plan(&model)
        };
        let agent = agent(&server, DEVICE, kept);
        Self {
            server,
            model,
            plan,
            agent,
        }
    }

    /// The device's program ends and starts again with `memory`.
    pub async fn restart(self, memory: Arc<dyn DeviceMemory>) -> Self {
        self.restart_keeping(remembering(memory)).await
    }

    pub async fn restart_keeping(self, kept: Kept) -> Self {
        self.agent.stop().await.unwrap();
        let agent = agent(&self.server, DEVICE, kept);
        Self { agent, ..self }
    }

    /// Another device with the same data.
    pub fn another(&self, device: &str) -> Running {
        agent(&self.server, device, Kept::default())
    }

    pub fn parameters(&self) -> usize {
        self.model.weights.len()
    }

    pub fn engine(&self) -> FastEngine {
        FastEngine::new(&self.model.spec.graph().unwrap())
    }

    /// Stores a version with other weights and returns its digest.
    pub fn version(&self, weights: &[f32]) -> String {
        let file = ModelFile {
            weights: weights.to_vec(),
            ..self.model.clone()
        };
        self.server.world.put(file.to_bytes().unwrap())
    }

    /// Orders a round that starts from `weights`.
    pub async fn order(&self, round: u32, plan: &TrainingPlan, weights: &[f32], aux: &[String]) {
        self.order_from(DEVICE, (round, 1), plan, weights, aux)
            .await;
    }

    /// Orders an attempt at a round from a device.
    pub async fn order_from(
        &self,
        device: &str,
        (round, attempt): (u32, u32),
        plan: &TrainingPlan,
        weights: &[f32],
        aux: &[String],
    ) {
        let world = &self.server.world;
        world.with(|memory| memory.runs.insert(RUN.to_owned(), plan.clone()));
        let order = match assignment(RUN, round, plan, &self.version(weights)) {
            Order::Assignment(first) => Order::Assignment(Assignment {
                auxiliary_digests: aux.to_vec(),
                attempt,
                ..first
            }),
            other => other,
        };
        world.order(device, order).await;
    }

    /// A round whose payload has `dimension` values, from order to receipt.
    pub async fn round(
        &self,
        round: u32,
        plan: &TrainingPlan,
        weights: &[f32],
        aux: &[String],
        dimension: usize,
    ) -> Sent {
        let world = &self.server.world;
        world.with(|memory| memory.dimensions.insert(RUN.to_owned(), dimension));
        let before = self.agent.tally().count("upload.counted");
        self.order(round, plan, weights, aux).await;
        let bytes = world.counted(RUN, round, DEVICE).await;
        self.until("upload.counted", before + 1).await;
        let header = world.with(|memory| memory.headers.last().cloned().unwrap());
        assert_eq!(header.round, round);
        let codec: Codec = header.codec.parse().unwrap();
        let mut values = vec![0.0; dimension];
        codec.decode_into(&bytes, &mut values).unwrap();
        Sent { values, header }
    }

    /// A round whose update is trained and then refused.
    pub async fn refused_round(
        &self,
        round: u32,
        plan: &TrainingPlan,
        weights: &[f32],
        aux: &[String],
    ) {
        let refusal = Reject {
            reason: RejectReason::GoalMet.into(),
            ..Reject::default()
        };
        let world = &self.server.world;
        world.with(|memory| memory.rejects.push_back(refusal));
        let before = self.agent.tally().count("upload.refused");
        self.order(round, plan, weights, aux).await;
        self.until("upload.refused", before + 1).await;
    }

    /// Orders a round, and ends the device's program after its first bytes have arrived.
    pub async fn dies_sending(self, round: u32, plan: &TrainingPlan, kept: Kept) -> Self {
        let world = &self.server.world;
        world.with(|memory| memory.stall_uploads = true);
        self.order(round, plan, &self.model.weights, &[]).await;
        let stalled = |memory: &Memory| (memory.stalled > 0).then_some(());
        world.wait("first bytes", stalled).await;
        world.with(|memory| memory.stall_uploads = false);
        self.restart_keeping(kept).await
    }

    pub async fn until(&self, event: &str, count: u64) {
        for _ in 0..6000 {
            if self.agent.tally().count(event) >= count {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("waited in vain for {event}: {:?}", self.agent.tally());
    }
}

fn remembering(memory: Arc<dyn DeviceMemory>) -> Kept {
    Kept {
        memory,
        ..Kept::default()
    }
}

fn agent(server: &FakeServer, device: &str, kept: Kept) -> Running {
    let slots = Box::new(MemorySlots::default());
    start_keeping(server, device, FEATURES, SessionMode::Stream, slots, kept)
}

pub fn with_algorithm(plan: &TrainingPlan, kind: AlgorithmKind) -> TrainingPlan {
    TrainingPlan {
        algorithm: Some(LocalAlgorithm { kind: Some(kind) }),
        ..plan.clone()
    }
}

pub fn personalised(plan: &TrainingPlan, kind: PersonalKind) -> TrainingPlan {
    TrainingPlan {
        personalisation: Some(Personalisation { kind: Some(kind) }),
        ..plan.clone()
    }
}
