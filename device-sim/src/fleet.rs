//! Starting, watching and stopping a fleet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand_core::Rng;
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tributary_device::{
    Agent, AgentOptions, AgentView, Clock, Connections, Environment, Identity, LoadedBuild,
    MemorySlots, Participations, Purposes, RecordError, SystemClock, TallySnapshot, Timing, Token,
    seeded,
};
use tributary_proto::RegionId;

use crate::behaviour::SimConduct;
use crate::device::SimDevice;
use crate::drift::{DriftInjection, DriftSwitch};
use crate::error::FleetError;
use crate::shard::ShardData;

/// Devices that one HTTP/2 connection carries at most: a coordinator lets it have two streams for each.
pub const DEVICES_PER_CONNECTION: usize = 500;

/// How a fleet is run.
#[derive(Debug, Clone)]
pub struct FleetConfig {
    /// The coordinator's address, for example `http://127.0.0.1:7070`.
    pub endpoint: String,
    /// HTTP/2 connections that all devices share; more where each would carry more than
    /// [`DEVICES_PER_CONNECTION`].
    pub connections: usize,
    /// Makes tokens, drop-outs and waits repeatable; from the operating system when `None`.
    pub seed: Option<[u8; 32]>,
    /// Threads that train and infer.
    pub cpu_permits: usize,
    /// Waits of the agents.
    pub timing: Timing,
    /// Time of day, for the pause between two participations of a device. In seeded runs virtual time
    /// does not pass: there is no pause then, and rounds alone keep participations apart.
    pub clock: Arc<dyn Clock>,
}

impl FleetConfig {
    /// Four connections, no seed, two threads and the system's clock.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            connections: 4,
            seed: None,
            cpu_permits: 2,
            timing: Timing::default(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// Starts fleets.
#[derive(Debug)]
pub struct Fleet;

/// A running fleet; dropping it stops its devices.
pub struct FleetHandle {
    environment: Arc<Environment>,
    switch: Arc<DriftSwitch>,
    views: Vec<AgentView>,
    refused: Arc<AtomicUsize>,
    stop: watch::Sender<bool>,
    tasks: TaskTracker,
}

/// A fleet at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct FleetStats {
    /// Devices started.
    pub devices: usize,
    /// Devices that the coordinator refused for good.
    pub refused: usize,
    /// Counters of all devices together.
    #[serde(flatten)]
    pub tally: TallySnapshot,
}

/// A build that devices run, and how many of one region and hardware class do.
#[derive(Debug, Clone)]
pub struct InstalledBuild {
    /// The region.
    pub region: RegionId,
    /// Name of the hardware class.
    pub hardware: String,
    /// The build.
    pub build: Arc<LoadedBuild>,
    /// The model version that it was built from.
    pub model_digest: String,
    /// Devices that run it.
    pub devices: usize,
}

impl Fleet {
    /// Starts the devices; they enrol and connect in the background, at most 64 at a time.
    pub fn start(config: FleetConfig, devices: Vec<SimDevice>) -> Result<FleetHandle, FleetError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| FleetError::NoRuntime)?;
        let needed = devices.len().div_ceil(DEVICES_PER_CONNECTION);
        let connections = Connections::new(&config.endpoint, config.connections.max(needed))?;
        let mut environment = Environment::new(connections, config.cpu_permits);
        environment.timing = config.timing;
        environment.clock = config.clock;
        let environment = Arc::new(environment);
        let switch = Arc::new(DriftSwitch::default());
        let agents = devices
            .into_iter()
            .enumerate()
            .map(|(number, device)| agent(number, device, config.seed, &environment, &switch))
            .collect::<Result<Vec<_>, _>>()?;
        let (stop, stopped) = watch::channel(false);
        let (tasks, refused) = (TaskTracker::new(), Arc::new(AtomicUsize::new(0)));
        let views = agents.iter().map(Agent::watch).collect();
        for agent in agents {
            let (stopped, refused) = (stopped.clone(), Arc::clone(&refused));
            let running = async move {
                if let Err(error) = agent.run(stopped).await {
                    refused.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(%error, "device gave up");
                }
            };
            tasks.spawn_on(running, &runtime);
        }
        tasks.close();
        Ok(FleetHandle {
            environment,
            switch,
            views,
            refused,
            stop,
            tasks,
        })
    }
}

fn agent(
    number: usize,
    device: SimDevice,
    seed: Option<[u8; 32]>,
    environment: &Arc<Environment>,
    switch: &Arc<DriftSwitch>,
) -> Result<Agent, FleetError> {
    check(&device)?;
    let kept = device.kept()?;
    let device_id = device.device_id.as_str().to_owned();
    let seed = match seed {
        Some(seed) => seed,
        None => *Token::from_os()?.secret(),
    };
    let derived = |purpose| {
        let mut bytes = [0; 32];
        seeded(&seed, "fleet", 0, &device_id, purpose).fill_bytes(&mut bytes);
        bytes
    };
    let token = device
        .token
        .unwrap_or_else(|| Token::from_bytes(derived(Purposes::Token)));
    let jitter_seed = Some(derived(Purposes::Jitter));
    let data = ShardData {
        tasks: device.tasks.clone(),
        features: device.features,
        region: device.region.clone(),
        usual: device.data,
        shifted: device.shifted,
        switch: Arc::clone(switch),
    };
    let options = AgentOptions {
        identity: Identity {
            device_id: device.device_id,
            token,
            region: device.region,
            profile: device.hardware,
            tasks: device.tasks,
        },
        data: Arc::new(data),
        slots: Box::new(MemorySlots::default()),
        memory: kept.memory,
        record: kept.record,
        tickets: kept.tickets,
        simulated: true,
        conduct: Arc::new(SimConduct {
            behaviour: device.behaviour,
            seed,
            device_id,
        }),
        mode: device.mode,
        jitter_seed,
        number: number as u64,
    };
    Ok(Agent::new(options, Arc::clone(environment))?)
}

fn check(device: &SimDevice) -> Result<(), FleetError> {
    let device_id = || device.device_id.as_str().to_owned();
    if let Some(problem) = device.behaviour.problem() {
        return Err(FleetError::Behaviour {
            device_id: device_id(),
            problem,
        });
    }
    for shard in std::iter::once(&device.data).chain(&device.shifted) {
        let (inputs, labels) = (shard.inputs.len(), shard.labels.len());
        let whole = if labels == 0 {
            inputs == 0
        } else {
            inputs % labels == 0 && inputs > 0
        };
        if !whole {
            return Err(FleetError::Shard {
                device_id: device_id(),
                inputs,
                labels,
            });
        }
    }
    Ok(())
}

impl FleetHandle {
    /// The fleet's counters.
    pub fn stats(&self) -> FleetStats {
        FleetStats {
            devices: self.views.len(),
            refused: self.refused.load(Ordering::Relaxed),
            tally: self.environment.tally.snapshot(),
        }
    }

    /// Waits until at least `count` devices have an open session.
    pub async fn wait_connected(&self, count: usize) {
        self.environment.tally.wait_connected(count).await;
    }

    /// Shifts a region's data from a window on.
    pub fn inject(&self, injection: DriftInjection) {
        self.switch.inject(injection);
    }

    /// Ends a region's drift.
    pub fn clear_drift(&self, region: &RegionId) {
        self.switch.clear(region);
    }

    /// The builds that devices run now, by region, hardware class and build.
    pub fn installed(&self) -> Vec<InstalledBuild> {
        let mut counts = BTreeMap::new();
        for view in &self.views {
            let Some(active) = view.active_build() else {
                continue;
            };
            let identity = view.identity();
            let key = (
                identity.region.clone(),
                identity.profile.name.clone(),
                active.build.digest,
            );
            counts.entry(key).or_insert_with(|| (active, 0usize)).1 += 1;
        }
        let counts = counts.into_iter();
        counts
            .map(
                |((region, hardware, _), (active, devices))| InstalledBuild {
                    region,
                    hardware,
                    model_digest: active.model_digest.to_string(),
                    build: active.build,
                    devices,
                },
            )
            .collect()
    }

    /// Views of the devices, in the order in which they were given.
    pub fn devices(&self) -> &[AgentView] {
        &self.views
    }

    /// The parameters that each device would use itself in a personalised run, in the order in which
    /// the devices were given; see [`AgentView::personal_model`]. `shared` are the shared parameters
    /// to use beside the personal ones, those of the version that a device saw last when `None`.
    pub fn personal_models(&self, run_id: &str, shared: Option<&[f32]>) -> Vec<Option<Vec<f32>>> {
        let views = self.views.iter();
        views
            .map(|view| view.personal_model(run_id, shared))
            .collect()
    }

    /// The cluster that each device chose last in an IFCA run; see [`AgentView::cluster`].
    pub fn clusters(&self, run_id: &str) -> Vec<Option<u32>> {
        self.views.iter().map(|view| view.cluster(run_id)).collect()
    }

    /// How often each device took part in a run that limits it, by its own record, in the order in
    /// which the devices were given; see [`AgentView::participations`].
    ///
    /// # Errors
    /// When a record in a folder can't be read.
    pub fn participations(&self, run_id: &str) -> Result<Vec<Participations>, RecordError> {
        let views = self.views.iter();
        views.map(|view| view.participations(run_id)).collect()
    }

    /// Ends all sessions in order and waits for the devices to stop.
    pub async fn shutdown(self) -> FleetStats {
        // Without receivers there is nobody left to stop.
        let _ = self.stop.send(true);
        self.tasks.wait().await;
        self.stats()
    }
}
