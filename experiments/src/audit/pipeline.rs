//! A run of scripted devices on a real coordinator over real gRPC, and everything that it released.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tributary_coordinator::{Server, ServerConfig};
use tributary_device::{
    Agent, AgentError, AgentOptions, Connections, Environment, Hardware, Identity, MemorySlots,
    SessionMode, Token, VolatileMemory, VolatileRecord, VolatileTickets,
};
use tributary_device_sim::DEVICES_PER_CONNECTION;
use tributary_proto::v1::{self, PrivacySpend, RunState};

use super::AuditError;
use super::device::{Blank, Scripted, ScriptedConduct, Sent};
use super::plan::{Plan, TASK};
use crate::runner::{Operator, RunnerError, Scratch};

/// How often the coordinator is asked.
const EVERY: Duration = Duration::from_millis(20);
/// Longest wait for the next round.
const PATIENCE: Duration = Duration::from_secs(120);
/// HTTP/2 connections that the devices share.
const CONNECTIONS: usize = 4;

/// The running devices.
type Agents = JoinSet<Result<(), AgentError>>;

/// Everything that a run released, with what its devices sent.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    /// The weights that the run started from.
    pub(crate) start: Vec<f32>,
    /// Its rounds, oldest first.
    pub(crate) rounds: Vec<TracedRound>,
    /// The account of the device that spent most.
    pub(crate) spend: PrivacySpend,
}

/// A round that was published.
#[derive(Clone, Debug)]
pub(crate) struct TracedRound {
    /// The weights that it released.
    pub(crate) weights: Vec<f32>,
    /// What the coordinator says of it.
    pub(crate) told: v1::Round,
    /// What devices sent, counted or not, by their numbers.
    pub(crate) sent: BTreeMap<usize, Vec<f32>>,
}

impl Trace {
    /// What round `index` (from 0) added to the weights; differences of `f32` are exact here.
    pub(crate) fn step(&self, index: usize) -> Vec<f64> {
        let before = match index.checked_sub(1) {
            Some(before) => &self.rounds[before].weights,
            None => &self.start,
        };
        let pairs = self.rounds[index].weights.iter().zip(before);
        pairs
            .map(|(after, before)| f64::from(*after) - f64::from(*before))
            .collect()
    }

    /// Largest error of [`Trace::step`] in any coordinate of round `index`: the mean is rounded to
    /// `f32` once, and so is the sum of weight and mean.
    pub(crate) fn rounding(&self, index: usize) -> f64 {
        let half_ulp = |value: f64| value.abs() * f64::powi(2.0, -24);
        let weights = self.rounds[index].weights.iter();
        let errors = weights.zip(self.step(index)).map(|(weight, step)| {
            let own = half_ulp(f64::from(*weight));
            own + half_ulp(step.abs() + own)
        });
        // values below 2^-126 have a fixed grid
        errors.fold(f64::powi(2.0, -126), f64::max)
    }
}

/// Runs `plan` with `devices`, which are numbered in their order.
pub(crate) async fn run(plan: &Plan, devices: &[Scripted]) -> Result<Trace, AuditError> {
    let folder = Scratch::new();
    let folder = folder.map_err(|error| AuditError::in_run(&plan.name)(error.into()))?;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = ServerConfig::new(folder.path().join("data"), listen);
    let server = Server::start(config).await?;
    let endpoint = format!("http://{}", server.listen_addr());
    let sent = Arc::new(Sent::default());
    let (stop, stopped) = watch::channel(false);
    let mut agents = start_agents(plan, devices, &endpoint, &sent, &stopped)?;
    let traced = tokio::select! {
        traced = follow(plan, &endpoint, &sent) => traced.map_err(AuditError::in_run(&plan.name)),
        refused = first_refusal(&mut agents) => Err(refused),
    };
    // without receivers there is nobody left to stop
    let _ = stop.send(true);
    while agents.join_next().await.is_some() {}
    server.shutdown().await;
    traced
}

/// Waits for an agent that gives up; for ever when none does.
async fn first_refusal(agents: &mut Agents) -> AuditError {
    while let Some(ended) = agents.join_next().await {
        if let Ok(Err(error)) = ended {
            return error.into();
        }
    }
    std::future::pending().await
}

fn start_agents(
    plan: &Plan,
    devices: &[Scripted],
    endpoint: &str,
    sent: &Arc<Sent>,
    stopped: &watch::Receiver<bool>,
) -> Result<Agents, AuditError> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let connections = Connections::new(
        endpoint,
        CONNECTIONS.max(devices.len().div_ceil(DEVICES_PER_CONNECTION)),
    )?;
    let environment = Arc::new(Environment::new(connections, threads));
    let mut agents = Agents::new();
    for (number, device) in devices.iter().enumerate() {
        let options = options(plan, number, device, sent)?;
        let agent = Agent::new(options, Arc::clone(&environment))?;
        let stopped = stopped.clone();
        agents.spawn(agent.run(stopped));
    }
    Ok(agents)
}

fn options(
    plan: &Plan,
    number: usize,
    device: &Scripted,
    sent: &Arc<Sent>,
) -> Result<AgentOptions, AuditError> {
    let id = format!("{}-{number:05}", plan.region);
    let device_id = id.parse().map_err(|_| {
        AuditError::setting("device", format!("can't be named {id}"), "shorten the name")
    })?;
    Ok(AgentOptions {
        identity: Identity {
            device_id,
            token: Token::from_os().map_err(AgentError::from)?,
            region: plan.region.clone(),
            profile: Hardware::int8("audited", "cortex-m4", 64 * 1024, 256 * 1024),
            tasks: vec![TASK.to_owned()],
        },
        data: Arc::new(Blank::new(device.examples, plan.features)),
        slots: Box::new(MemorySlots::default()),
        memory: Arc::new(VolatileMemory::default()),
        record: Arc::new(VolatileRecord::default()),
        tickets: Arc::new(VolatileTickets::default()),
        // what is audited is what a real device does
        simulated: false,
        conduct: Arc::new(ScriptedConduct {
            number,
            device: device.clone(),
            sent: Arc::clone(sent),
            round: AtomicU32::new(0),
        }),
        mode: SessionMode::Stream,
        jitter_seed: None,
        number: number as u64,
    })
}

async fn follow(plan: &Plan, endpoint: &str, sent: &Sent) -> Result<Trace, RunnerError> {
    let mut operator = Operator::connect(endpoint).await?;
    let run_id = operator.start_run(plan.to_toml()).await?;
    let rounds = completed(&mut operator, &run_id).await?;
    let mut traced = Vec::with_capacity(rounds.len());
    for told in rounds {
        traced.push(TracedRound {
            weights: operator.model_file(&told.model_digest).await?.weights,
            sent: sent.take(told.round),
            told,
        });
    }
    let first = traced.first().ok_or_else(|| RunnerError::RunEnded {
        run: run_id,
        round: 0,
        reason: "it published no round".to_owned(),
    })?;
    let model = operator.model(&first.told.model_digest).await?.model;
    let parent = model.unwrap_or_default().parent;
    // a round that only estimates the clip publishes the version that it started from
    let parent = if parent.is_empty() {
        first.told.model_digest.clone()
    } else {
        parent
    };
    let spend = operator.privacy().await?.worst_device;
    Ok(Trace {
        start: operator.model_file(&parent).await?.weights,
        rounds: traced,
        spend: spend.unwrap_or_default(),
    })
}

/// Waits for the last round; the published ones.
async fn completed(operator: &mut Operator, run_id: &str) -> Result<Vec<v1::Round>, RunnerError> {
    let (mut last_news, mut seen) = (Instant::now(), 0);
    loop {
        let answer = operator.run(run_id).await?;
        let run = answer.run.unwrap_or_default();
        let published = answer.rounds.into_iter();
        let published: Vec<v1::Round> = published
            .filter(|round| !round.model_digest.is_empty())
            .collect();
        match run.state() {
            RunState::Completed => return Ok(published),
            RunState::Stopped | RunState::Failed | RunState::Quarantined => {
                return Err(RunnerError::RunEnded {
                    run: run.run_id,
                    round: run.round,
                    reason: run.reason,
                });
            }
            RunState::Running | RunState::Unspecified => {}
        }
        if published.len() > seen {
            (last_news, seen) = (Instant::now(), published.len());
        }
        if last_news.elapsed() > PATIENCE {
            return Err(RunnerError::Late {
                what: format!("round {} of run {run_id}", seen + 1),
                seconds: PATIENCE.as_secs(),
                state: format!("{} {}", run.phase, run.reason),
            });
        }
        sleep(EVERY).await;
    }
}
