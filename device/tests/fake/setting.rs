//! Models, data and agents that the tests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tributary_device::agent::AgentView;
use tributary_device::{
    Agent, AgentError, AgentOptions, BackoffLimits, Clock, Connections, DataError, DataForm,
    DeviceMemory, Environment, Examples, Hardware, Identity, LocalData, MemorySlots, NoHooks,
    ParticipationRecord, Purpose, SessionMode, SlotStore, SystemClock, TallySnapshot, TicketRecord,
    Timing, Token, VolatileMemory, VolatileRecord, VolatileTickets,
};
use tributary_model::{LayerSpec, ModelFile, ModelSpec, initialise};
use tributary_proto::v1::TrainingPlan;

use super::FakeServer;

pub const TASK: &str = "watch";

/// A dense classifier of three classes.
pub fn model(features: usize, hidden: u32) -> ModelFile {
    let layers = serde_json::from_value::<Vec<LayerSpec>>(serde_json::json!([
        {"kind": "dense", "units": hidden},
        {"kind": "relu"},
        {"kind": "dense", "units": 3},
        {"kind": "softmax"},
    ]))
    .unwrap();
    let spec = ModelSpec {
        name: "test".to_owned(),
        input: vec![features],
        layers,
    };
    let weights = initialise(&spec.graph().unwrap(), [9; 32]);
    ModelFile { spec, weights }
}

pub fn examples(features: usize, count: usize) -> Examples {
    let inputs: Vec<f32> = (0..features * count)
        .map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0)
        .collect();
    let labels: Vec<u32> = (0..count as u32).map(|i| i % 3).collect();
    Examples {
        inputs: inputs.into(),
        labels: labels.into(),
    }
}

pub fn plan(model: &ModelFile) -> TrainingPlan {
    TrainingPlan {
        task: TASK.to_owned(),
        epochs: 2,
        batch_size: 4,
        learning_rate: 0.1,
        clip: 0.5,
        codec: "f32".to_owned(),
        simulation_seed: vec![3; 32].into(),
        parameters: model.weights.len() as u64,
        ..TrainingPlan::default()
    }
}

/// Fixed examples; counts how often they were read for training.
pub struct CountedData {
    pub examples: Examples,
    pub trainings: AtomicUsize,
}

impl LocalData for CountedData {
    fn form(&self, task: &str) -> Result<DataForm, DataError> {
        if task != TASK {
            return Err(DataError::UnknownTask {
                task: task.to_owned(),
            });
        }
        Ok(DataForm {
            features: self.examples.inputs.len().checked_div(self.examples.len()),
            classes: Some(3),
        })
    }

    fn examples(&self, task: &str, purpose: &Purpose) -> Result<Examples, DataError> {
        if task != TASK {
            return Err(DataError::UnknownTask {
                task: task.to_owned(),
            });
        }
        if matches!(purpose, Purpose::Training { .. }) {
            self.trainings.fetch_add(1, Ordering::SeqCst);
        }
        Ok(self.examples.clone())
    }
}

pub fn hardware() -> Hardware {
    Hardware::int8("wrist-large", "cortex-m4", 64 * 1024, 256 * 1024)
}

pub fn identity(device: &str) -> Identity {
    Identity {
        device_id: device.parse().unwrap(),
        token: Token::from_bytes([1; 32]),
        region: "eu".parse().unwrap(),
        profile: hardware(),
        tasks: vec![TASK.to_owned()],
    }
}

/// Short waits, so that retries don't slow the tests down.
pub fn timing() -> Timing {
    let backoff = BackoffLimits {
        base: Duration::from_millis(5),
        cap: Duration::from_millis(100),
    };
    Timing {
        backoff,
        ..Timing::default()
    }
}

/// A running agent.
pub struct Running {
    pub environment: Arc<Environment>,
    pub data: Arc<CountedData>,
    pub view: AgentView,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), AgentError>>,
}

impl Running {
    pub fn tally(&self) -> TallySnapshot {
        self.environment.tally.snapshot()
    }

    pub async fn stop(self) -> Result<(), AgentError> {
        self.stop.send(true).unwrap();
        self.task.await.unwrap()
    }

    /// Waits for the agent to end by itself.
    pub async fn ended(self) -> Result<(), AgentError> {
        let Self { stop, task, .. } = self;
        let ended = task.await.unwrap();
        drop(stop);
        ended
    }
}

pub fn start(server: &FakeServer, device: &str, features: usize, mode: SessionMode) -> Running {
    start_with(
        server,
        device,
        features,
        mode,
        Box::new(MemorySlots::default()),
    )
}

pub fn start_with(
    server: &FakeServer,
    device: &str,
    features: usize,
    mode: SessionMode,
    slots: Box<dyn SlotStore>,
) -> Running {
    start_remembering(
        server,
        device,
        features,
        mode,
        slots,
        Arc::new(VolatileMemory::default()),
    )
}

pub fn start_remembering(
    server: &FakeServer,
    device: &str,
    features: usize,
    mode: SessionMode,
    slots: Box<dyn SlotStore>,
    memory: Arc<dyn DeviceMemory>,
) -> Running {
    let kept = Kept {
        memory,
        ..Kept::default()
    };
    start_keeping(server, device, features, mode, slots, kept)
}

/// What a device keeps from round to round, and how it tells the time.
pub struct Kept {
    pub memory: Arc<dyn DeviceMemory>,
    pub record: Arc<dyn ParticipationRecord>,
    pub tickets: Arc<dyn TicketRecord>,
    pub clock: Arc<dyn Clock>,
    pub simulated: bool,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            memory: Arc::new(VolatileMemory::default()),
            record: Arc::new(VolatileRecord::default()),
            tickets: Arc::new(VolatileTickets::default()),
            clock: Arc::new(SystemClock),
            simulated: true,
        }
    }
}

/// A device on any data.
pub fn start_with_data(
    server: &FakeServer,
    device: &str,
    data: Box<dyn LocalData>,
    kept: Kept,
) -> Running {
    let slots = Box::new(MemorySlots::default());
    let counted = counted_data(1);
    let data = Arc::from(data);
    launch(
        server,
        device,
        (counted, data),
        SessionMode::Stream,
        slots,
        kept,
    )
}

fn counted_data(features: usize) -> Arc<CountedData> {
    Arc::new(CountedData {
        examples: examples(features, 12),
        trainings: AtomicUsize::new(0),
    })
}

pub fn start_keeping(
    server: &FakeServer,
    device: &str,
    features: usize,
    mode: SessionMode,
    slots: Box<dyn SlotStore>,
    kept: Kept,
) -> Running {
    let counted = counted_data(features);
    let data = Arc::clone(&counted) as Arc<dyn LocalData>;
    launch(server, device, (counted, data), mode, slots, kept)
}

fn launch(
    server: &FakeServer,
    device: &str,
    (counted, data): (Arc<CountedData>, Arc<dyn LocalData>),
    mode: SessionMode,
    slots: Box<dyn SlotStore>,
    kept: Kept,
) -> Running {
    let mut environment = Environment::new(Connections::new(&server.endpoint(), 1).unwrap(), 1);
    environment.timing = timing();
    environment.clock = kept.clock;
    let environment = Arc::new(environment);
    let options = AgentOptions {
        identity: identity(device),
        data,
        slots,
        memory: kept.memory,
        record: kept.record,
        tickets: kept.tickets,
        simulated: kept.simulated,
        conduct: Arc::new(NoHooks),
        mode,
        jitter_seed: Some([4; 32]),
        number: 0,
    };
    let agent = Agent::new(options, Arc::clone(&environment)).unwrap();
    let view = agent.watch();
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(agent.run(stopped));
    Running {
        environment,
        data: counted,
        view,
        stop,
        task,
    }
}
