//! One real agent whose data are chosen by the test.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tributary_device::{
    Agent, AgentError, AgentOptions, Connections, DataError, DataForm, Environment, Examples,
    Identity, LocalData, MemorySlots, NoHooks, Purpose, SessionMode, TallySnapshot, Token,
    VolatileMemory, VolatileRecord, VolatileTickets,
};

use super::fleet::{large, timing};
use super::recipe::TASK;

/// Values of an example of the tests' task.
const FEATURES: usize = 4;

/// What a device finds when it looks at its data.
#[derive(Debug, Clone)]
pub enum Found {
    /// Examples, row by row.
    Examples(Vec<f32>, Vec<u32>),
    /// A file that can't be read.
    Unreadable,
    /// A driver that panics.
    Panic,
    /// A driver that does not come back for so long.
    Hangs(Duration),
}

impl Found {
    /// `count` copies of an example.
    pub fn copies(count: usize, example: [f32; FEATURES], label: u32) -> Self {
        Self::Examples(example.repeat(count), vec![label; count])
    }
}

struct Data(Found);

impl LocalData for Data {
    fn form(&self, task: &str) -> Result<DataForm, DataError> {
        if task != TASK {
            let task = task.to_owned();
            return Err(DataError::UnknownTask { task });
        }
        Ok(DataForm {
            features: Some(FEATURES),
            classes: Some(2),
        })
    }

    fn examples(&self, task: &str, _purpose: &Purpose) -> Result<Examples, DataError> {
        match &self.0 {
            Found::Examples(inputs, labels) => Ok(Examples {
                inputs: inputs.clone().into(),
                labels: labels.clone().into(),
            }),
            Found::Unreadable => Err(DataError::Unreadable {
                task: task.to_owned(),
                problem: "the sensor is off".to_owned(),
            }),
            Found::Panic => panic!("a test's data panic"),
            Found::Hangs(long) => {
                std::thread::sleep(*long);
                Ok(Examples {
                    inputs: vec![1.0; FEATURES].into(),
                    labels: vec![0].into(),
                })
            }
        }
    }
}

/// A running agent.
pub struct RealAgent {
    environment: Arc<Environment>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), AgentError>>,
}

impl RealAgent {
    /// Starts a device that is not simulated.
    pub fn start(endpoint: &str, region: &str, id: &str, found: Found) -> Self {
        Self::launch(endpoint, region, id, found, false)
    }

    /// Starts a device that follows a seeded plan to the letter, its own noise included.
    pub fn simulated(endpoint: &str, region: &str, id: &str, found: Found) -> Self {
        Self::launch(endpoint, region, id, found, true)
    }

    fn launch(endpoint: &str, region: &str, id: &str, found: Found, simulated: bool) -> Self {
        let mut environment = Environment::new(Connections::new(endpoint, 1).unwrap(), 2);
        environment.timing = timing();
        let environment = Arc::new(environment);
        let options = AgentOptions {
            identity: Identity {
                device_id: id.parse().unwrap(),
                token: Token::from_bytes([7; 32]),
                region: region.parse().unwrap(),
                profile: large(),
                tasks: vec![TASK.to_owned()],
            },
            data: Arc::new(Data(found)),
            slots: Box::new(MemorySlots::default()),
            memory: Arc::new(VolatileMemory::default()),
            record: Arc::new(VolatileRecord::default()),
            tickets: Arc::new(VolatileTickets::default()),
            simulated,
            conduct: Arc::new(NoHooks),
            mode: SessionMode::Stream,
            jitter_seed: None,
            number: 0,
        };
        let agent = Agent::new(options, environment.clone()).unwrap();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(agent.run(stopped));
        Self {
            environment,
            stop,
            task,
        }
    }

    /// Waits until its session is open.
    pub async fn connected(&self) {
        self.environment.tally.wait_connected(1).await;
    }

    /// Its own counters, which never leave it.
    pub fn tally(&self) -> TallySnapshot {
        self.environment.tally.snapshot()
    }

    /// Stops it.
    pub async fn stop(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap().unwrap();
    }
}
