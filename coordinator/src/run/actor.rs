//! The actor of one run: commands, timers, and the order of things.
//!
//! - `arrival`: updates that come in
//! - `ends`: what outlives a crash of its task
//! - `closing`: devices that do not answer, and the end of a collection
//! - `selection`: who takes part, and what they are told
//! - `charging`: what the round costs its devices
//! - `publication`: the release
//! - `listening`: what is heard after a start, before anything is charged or released
//! - `sealing`: contributions become durable
//! - `commits`: events, durable, applied, and their effects
//! - `mishaps`: what can't go on for now, and what a crash or a restart has cut off

mod arrival;
mod charging;
mod closing;
mod commits;
mod ends;
mod listening;
mod mishaps;
mod publication;
mod retry;
mod sealing;
mod selection;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tributary_model::{Digest, ModelFile};
use tributary_proto::{DeviceId, RunId};

pub use self::ends::{End, Ends, Mishap};
use super::collect::RoundSums;
use super::costs::RunCosts;
use super::failure::needs_reload;
use super::journal::Journal;
use super::parts::Parts;
use super::release::Released;
use super::runs::Runs;
use super::server_state::ServerState;
use super::{Command, Format};
use crate::CoordinatorError;
use crate::backoff::Backoff;
use crate::core::Core;
use crate::engine::{AssignmentState, DropReason, Effect, Event, Phase, RunState};
use crate::failpoint::Place;

/// How often deadlines and seals are looked at.
const TICK: Duration = Duration::from_millis(20);
/// Commands that are handled together.
const TOGETHER: usize = 64;

/// The actor of one run.
pub struct Actor {
    pub(super) runs: Arc<Runs>,
    pub(super) core: Arc<Core>,
    pub(super) state: RunState,
    pub(super) journal: Journal,
    pub(super) costs: RunCosts,
    pub(super) format: Arc<Format>,
    pub(super) collection: RoundSums,
    /// The newest version, or one per region or cluster.
    pub(super) bases: Vec<ModelFile>,
    pub(super) server: ServerState,
    pub(super) released: Option<Released>,
    /// The mean update of the last release, a released value.
    pub(super) last_step: Option<Vec<f32>>,
    ends: Ends,
    /// Devices that will not answer, and why; noted with the next seal.
    abandoned: BTreeMap<DeviceId, DropReason>,
    open_since: Option<Instant>,
    seal_every: Duration,
    next_selection: Instant,
    /// Since when the open round waits for devices, in service time.
    waiting_since_ms: u64,
    /// When this actor took over, in service time.
    resumed_ms: u64,
    next_look: Instant,
    reason: String,
    backoff: Backoff,
    /// Whether the last failure was a disk without room: what comes in is kept until there is some.
    lacks_space: bool,
    mishap: Option<Mishap>,
    /// Devices whose updates crashed the sums.
    suspects: Vec<DeviceId>,
    /// Effects of applied events, in their order.
    effects: VecDeque<Effect>,
    /// Blobs of rounds that are over, deleted once a snapshot is written.
    discarded: Vec<Digest>,
}

impl Actor {
    /// An actor that goes on from a state.
    pub(super) fn new(
        runs: Arc<Runs>,
        state: RunState,
        journal: Journal,
        parts: Parts,
        ends: Ends,
    ) -> Self {
        let now_ms = runs.core.clock.service_ms();
        Self {
            core: runs.core.clone(),
            runs,
            state,
            journal,
            costs: parts.costs,
            format: parts.format,
            collection: parts.collection,
            bases: parts.bases,
            server: parts.server,
            released: None,
            last_step: None,
            ends,
            abandoned: BTreeMap::new(),
            open_since: None,
            seal_every: Duration::ZERO,
            next_selection: Instant::now(),
            waiting_since_ms: now_ms,
            resumed_ms: now_ms,
            next_look: Instant::now(),
            reason: String::new(),
            backoff: Backoff::default(),
            lacks_space: false,
            mishap: None,
            suspects: Vec::new(),
            effects: VecDeque::new(),
            discarded: Vec::new(),
        }
    }

    /// The same after the actor before it came to grief.
    pub(super) fn after(self, mishap: Mishap) -> Self {
        Self {
            mishap: Some(mishap),
            ..self
        }
    }

    /// The run.
    pub(super) fn id(&self) -> &RunId {
        &self.state.id
    }

    /// Runs until the run is over, the coordinator stops, or what is in memory can't be relied on.
    pub async fn run(mut self) -> End {
        let commands = self.ends.commands.clone();
        let mut commands = commands.lock().await;
        let mut outcome = self.resume().await;
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut inbox = Vec::with_capacity(TOGETHER);
        loop {
            let settled = self.settle().await;
            outcome = self.first_of(outcome, settled);
            if let Err(error) = outcome
                && let Some(end) = self.on_failure(error)
            {
                return end;
            }
            if !self.state.is_running() {
                self.is_well();
                return End::Over(Box::new(self.state));
            }
            outcome = tokio::select! {
                count = commands.recv_many(&mut inbox, TOGETHER) => match count {
                    0 => return End::Stopping,
                    _ => self.handle_all(inbox.drain(..)).await,
                },
                _ = ticks.tick() => self.tick().await,
            };
        }
    }

    fn show(&self) {
        self.ends
            .view
            .send_modify(|view| view.update(&self.state, &self.reason));
    }

    async fn handle(&mut self, command: Command) -> Result<(), CoordinatorError> {
        match command {
            Command::Admit {
                device,
                round,
                digest,
                reply,
            } => {
                // a device that has gone away needs no answer
                let _ = reply.send(
                    self.admit(&device, (round, digest), 0)
                        .map(|admitted| admitted.models),
                );
                Ok(())
            }
            // taken together with its neighbours by `handle_all`
            Command::Contribute(contribute) => self.add(vec![contribute]).await,
            Command::Abandon {
                device,
                round,
                reason,
            } => {
                self.note_abandoned(device, round, reason);
                Ok(())
            }
            Command::Connected { device, witnesses } => {
                self.hear(&device, &witnesses).await;
                self.offer(&[device]);
                Ok(())
            }
            Command::Showed { device, witnesses } => {
                self.hear(&device, &witnesses).await;
                Ok(())
            }
            // whether that stops the run is seen when its blobs are read again
            Command::Damaged { digest, error } => {
                match self.state.offered().any(|offered| offered == digest) {
                    true => Err(error.into()),
                    false => Ok(()),
                }
            }
            Command::Stop { reply } => {
                match self.commit(vec![Event::Stopped]).await {
                    // the caller is told by the closed channel
                    Err(error) if needs_reload(&error) => Err(error),
                    outcome => {
                        // whoever is told that it has ended sees it ended
                        let settled = self.settle().await;
                        let _ = reply.send(self.first_of(outcome, settled));
                        Ok(())
                    }
                }
            }
        }
    }

    /// A device gives its assignment back; noted with the next seal.
    fn note_abandoned(&mut self, device: DeviceId, round: u32, reason: DropReason) {
        if reason == DropReason::Network {
            self.core.objects.doubt(self.state.offered());
        }
        let lease = self.state.round.leases.get(&device);
        let waiting = lease.is_some_and(|lease| lease.state == AssignmentState::Waiting);
        let asked = lease.is_some_and(|lease| lease.round == round);
        let here = asked && !self.collection.is_pending(&device);
        // between buffers it is noted for the next
        if waiting && here && self.hears(reason) {
            self.abandoned.entry(device).or_insert(reason);
        }
    }

    async fn tick(&mut self) -> Result<(), CoordinatorError> {
        // only a failpoint of a test has something to say here, by a panic
        let _ = self.core.failpoint.reach(Place::Tick, &self.state.id);
        if self.backoff.waits(Instant::now()) {
            return Ok(());
        }
        if self.must_wait() {
            self.decide_unheard().await?;
            // what is counted meanwhile is kept; it is only not released
            let collecting = self.state.round.phase == Phase::Collecting;
            if !collecting || self.core.halt.is_halted() {
                return Ok(());
            }
        }
        match self.state.round.phase {
            Phase::Selecting => self.select().await,
            Phase::Collecting => {
                self.note_silent();
                let answered = !self.abandoned.is_empty() && self.collection.pending() == 0;
                if self.must_seal() || answered {
                    return self.collect().await;
                }
                self.close_if_due().await
            }
            // only after a failure: try the interrupted step again
            Phase::Sealing => self.charge().await,
            Phase::Releasing => self.release().await,
        }
    }
}
