//! The actor of one run: commands, timers, and the order of things.
//!
//! - `arrival`: updates that come in
//! - `selection`: who takes part, and what they are told
//! - `charging`: what the round costs its devices
//! - `publication`: the release
//! - `listening`: what is heard after a start, before anything is charged or released
//! - `retry`: what happens when it can't go on for now

mod arrival;
mod charging;
mod listening;
mod publication;
mod retry;
mod selection;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tributary_model::ModelFile;
use tributary_proto::DeviceId;
use tributary_proto::v1::{self, directive, watch_response};

pub(super) use self::listening::Listening;
use super::collect::{Collection, Waiting, segment_id};
pub use self::retry::Retry;
use super::costs::RunCosts;
use super::journal::{DEVICES_PER_EVENT, Journal};
use super::release::Released;
use super::server_state::ServerState;
use super::view::RunView;
use super::{Command, Counted, Format};
use crate::CoordinatorError;
use crate::core::Core;
use crate::engine::{AssignmentState, CloseReason, Effect, Event, Phase, RunState, Segment};
use crate::store::Batch;

/// How often deadlines and seals are looked at.
const TICK: Duration = Duration::from_millis(20);
/// Shortest time between two seals.
const SEAL_EVERY: Duration = Duration::from_millis(25);
/// Commands that are handled together.
const TOGETHER: usize = 64;
/// Longest time that a contribution waits for its receipt.
const SEAL_AT_MOST: Duration = Duration::from_secs(2);

/// The actor of one run.
pub struct Actor {
    pub(super) core: Arc<Core>,
    pub(super) state: RunState,
    pub(super) journal: Journal,
    pub(super) costs: RunCosts,
    pub(super) format: Arc<Format>,
    pub(super) collection: Collection,
    /// The newest version, or one per region or cluster.
    pub(super) bases: Vec<ModelFile>,
    pub(super) server: ServerState,
    pub(super) released: Option<Released>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) view: watch::Sender<RunView>,
    pub(super) abandoned: Vec<DeviceId>,
    pub(super) open_since: Option<Instant>,
    pub(super) seal_every: Duration,
    pub(super) next_selection: Instant,
    pub(super) waiting_since_ms: u64,
    pub(super) reason: String,
    /// Whom the run waits for after a start.
    pub(super) listening: Option<Listening>,
    pub(super) retry: Retry,
}

impl Actor {
    /// Runs until the run is over or the coordinator stops.
    pub async fn run(mut self) {
        if let Err(error) = self.resume().await {
            self.stumble("resume", &error);
        }
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut inbox = Vec::with_capacity(TOGETHER);
        while self.state.is_running() {
            let outcome = tokio::select! {
                count = self.commands.recv_many(&mut inbox, TOGETHER) => match count {
                    0 => break,
                    _ => self.handle_all(inbox.drain(..)).await,
                },
                _ = ticks.tick() => self.tick().await,
            };
            if let Err(error) = outcome {
                self.stumble("go on", &error);
            }
        }
        self.is_well();
    }

    pub(super) fn show(&self) {
        self.view
            .send_modify(|view| view.update(&self.state, &self.reason));
    }

    /// Re-issues what a crash or a failure may have cut off; every part of it is idempotent.
    async fn resume(&mut self) -> Result<(), CoordinatorError> {
        self.waiting_since_ms = self.core.clock.now_ms();
        self.show();
        if !self.state.is_running() {
            return Ok(()); // the phase is that of the last round, whose work is done
        }
        if self.must_wait() {
            return Ok(());
        }
        match self.state.round.phase {
            Phase::Selecting | Phase::Collecting => Ok(()),
            Phase::Sealing => self.charge().await,
            Phase::Releasing => self.release().await,
        }
    }

    async fn handle(&mut self, command: Command) -> Result<(), CoordinatorError> {
        match command {
            Command::Admit {
                device,
                round,
                reply,
            } => {
                // a device that has gone away needs no answer
                let _ = reply.send(
                    self.admit(&device, round, 0)
                        .map(|admitted| admitted.models),
                );
                Ok(())
            }
            // taken together with its neighbours by `handle_all`
            Command::Contribute(contribute) => self.add(vec![contribute]).await,
            Command::Abandon { device, round } => {
                let lease = self.state.round.leases.get(&device);
                let waiting = lease.is_some_and(|lease| lease.state == AssignmentState::Waiting);
                let asked = lease.is_some_and(|lease| lease.round == round);
                let here = asked && !self.collection.is_pending(&device);
                // between buffers it is noted for the next
                if waiting && here && !self.abandoned.contains(&device) {
                    self.abandoned.push(device);
                }
                Ok(())
            }
            Command::Connected { device, witnesses } => {
                self.hear(&device, &witnesses).await;
                self.offer(&[device]);
                Ok(())
            }
            Command::Stop { reply } => {
                let outcome = self.commit(vec![Event::Stopped]).await;
                let _ = reply.send(outcome);
                Ok(())
            }
        }
    }

    /// True when contributions have waited long enough, fill a record, or are the last.
    fn must_seal(&self) -> bool {
        if !self.retry.is_due() {
            return false; // more contributions come in meanwhile, and are sealed with these
        }
        let waited = self
            .open_since
            .is_some_and(|since| since.elapsed() >= self.seal_every);
        let waiting = self.state.round.in_state(AssignmentState::Waiting);
        let last = self.collection.pending() + self.abandoned.len() >= waiting;
        let coming = self.state.round.counted() + self.collection.pending();
        let goal = coming >= self.state.spec.rounds.cohort as usize;
        self.collection.pending() > 0 && (waited || last || self.collection.is_full())
            || goal && self.collection.pending() > 0 && !self.state.spec.is_seeded()
    }

    async fn tick(&mut self) -> Result<(), CoordinatorError> {
        if !self.retry.is_due() {
            return Ok(());
        }
        self.go_on().await?;
        self.went_on();
        Ok(())
    }

    /// Does what the phase asks for now.
    async fn go_on(&mut self) -> Result<(), CoordinatorError> {
        if self.must_wait() {
            self.give_up_unheard().await?;
            // what is counted meanwhile is kept; it is only not released
            let collecting = self.state.round.phase == Phase::Collecting;
            if !collecting || self.core.halt.is_halted() {
                return Ok(());
            }
        }
        match self.state.round.phase {
            Phase::Selecting => self.select().await,
            Phase::Collecting => {
                self.note_expired();
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

    /// Seals what is open and notes who gave up, in one commit; then closes if that was all.
    async fn collect(&mut self) -> Result<(), CoordinatorError> {
        let begun = Instant::now();
        let round = self.state.round.number;
        let sealings = self.collection.write(&self.core, &self.state.id).await?;
        let mut events = Vec::new();
        for sealing in &sealings {
            events.push(Event::Sealed {
                round,
                segment: sealing.segment.clone(),
            });
        }
        for devices in self.abandoned.chunks(DEVICES_PER_EVENT) {
            events.push(Event::Dropped {
                round,
                devices: devices.to_vec(),
            });
        }
        let noted = self.abandoned.len();
        if let Err(error) = self.persist(&events).await {
            // otherwise receipts are dropped with `sealings`, so the devices send again
            if error.is_disk_full() {
                self.collection.put_back(sealings)?;
            }
            return Err(error);
        }
        self.open_since = None;
        self.applied(&events).await?;
        self.abandoned.drain(..noted.min(self.abandoned.len()));
        for sealing in sealings {
            self.collection.sealed(&sealing.segment, &sealing.content)?;
            let count = sealing.segment.contributors.len() as u64;
            let counters = &self.core.telemetry;
            counters
                .contributions
                .fetch_add(count, std::sync::atomic::Ordering::Relaxed);
            let segment_id = segment_id(&self.state.key, &sealing.segment.digest);
            self.give_receipts(&segment_id, &sealing.segment, sealing.receipts);
        }
        // sealing may cost at most a tenth of the traffic: large models seal less often
        self.seal_every = (begun.elapsed() * 10).clamp(SEAL_EVERY, SEAL_AT_MOST);
        self.close_if_due().await
    }

    /// Tells the contributors of a durable segment that they are counted, and with which update.
    fn give_receipts(&self, segment_id: &str, segment: &Segment, waiting: Vec<Vec<Waiting>>) {
        let updates = segment.contributors.iter().zip(&segment.updates);
        for ((device, digest), waiting) in updates.zip(waiting) {
            let Some(lease) = self.state.round.leases.get(device) else {
                continue; // they are told by the closed channel
            };
            let counted = Counted {
                segment_id: segment_id.to_owned(),
                digest: *digest,
                ticket: self.receipt(device, lease, *digest),
            };
            for waiting in waiting {
                waiting.counted(counted.clone());
            }
        }
    }

    async fn close_if_due(&mut self) -> Result<(), CoordinatorError> {
        if self.collection.pending() > 0 || self.must_wait() {
            return Ok(());
        }
        let Some(reason) = self.state.should_close(self.core.clock.now_ms()) else {
            return Ok(());
        };
        let round = self.state.round.number;
        let counted = self.state.round.counted();
        let minimum = self.state.spec.rounds.minimum();
        if let Some(reason) = self.misses_trusted() {
            return self.commit(vec![Event::Aborted { round, reason }]).await;
        }
        if counted < minimum as usize {
            let why = match reason {
                CloseReason::Deadline => "the deadline passed",
                _ => "every device answered",
            };
            let reason = format!("{why} with {counted} contributions, fewer than {minimum}");
            return self.commit(vec![Event::Aborted { round, reason }]).await;
        }
        self.commit(vec![Event::Closed { round, reason }]).await
    }

    /// Persists events, applies them, and runs their effects.
    async fn commit(&mut self, events: Vec<Event>) -> Result<(), CoordinatorError> {
        self.persist(&events).await?;
        self.applied(&events).await
    }

    /// Persists events; they must be applied next.
    async fn persist(&mut self, events: &[Event]) -> Result<(), CoordinatorError> {
        let mut batch = Batch::new();
        self.journal.put(events, &mut batch)?;
        self.state.check_all(events)?;
        self.core.store.commit(batch).await?;
        self.journal.committed(events.len());
        Ok(())
    }

    /// Applies durable events and runs their effects.
    async fn applied(&mut self, events: &[Event]) -> Result<(), CoordinatorError> {
        let mut effects = Vec::new();
        for event in events {
            let held: Vec<DeviceId> = if event.ends_round() {
                self.state.round.leases.keys().cloned().collect()
            } else {
                Vec::new()
            };
            effects.extend(self.state.apply(event)?);
            if event.ends_round() {
                let goes_on = |device: &&DeviceId| {
                    self.state.is_running() && self.state.round.leases.contains_key(*device)
                };
                let free = held.iter().filter(|device| !goes_on(device));
                self.core.fleet.release(free);
                // here and not in an effect: no failure may carry sums into the next round
                self.round_over();
            }
        }
        self.show();
        let mut outcome = Ok(());
        for effect in effects {
            // boxed: a release ends in a commit, which has effects of its own
            let done = Box::pin(self.effect(effect)).await;
            outcome = outcome.and(done);
        }
        outcome
    }

    async fn effect(&mut self, effect: Effect) -> Result<(), CoordinatorError> {
        match effect {
            Effect::Select => {
                self.waiting_since_ms = self.core.clock.now_ms();
                self.next_selection = Instant::now();
                Ok(())
            }
            Effect::Offer(devices) => {
                self.offer(&devices);
                Ok(())
            }
            // given with the segment id by `collect`, which knows who waits
            Effect::GiveReceipts { .. } => Ok(()),
            Effect::Charge => self.charge().await,
            Effect::Release => self.release().await,
            Effect::Announce(_) => {
                let rounds = &self.core.telemetry.rounds;
                rounds.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                self.tell_round();
                Ok(())
            }
            Effect::Discard(digests) => {
                self.journal.snapshot(&self.core, &self.state).await?;
                for digest in digests {
                    self.core.vault.delete(&digest).await?;
                }
                Ok(())
            }
            Effect::Finish => {
                self.finish();
                Ok(())
            }
        }
    }

    /// Forgets the round's sums. Whoever still waits for a receipt is told by the closed channel.
    fn round_over(&mut self) {
        let regions = self.state.spec.regions.len();
        self.collection = Collection::new(self.format.clone(), regions);
        let leases = &self.state.round.leases;
        self.abandoned.retain(|device| leases.contains_key(device));
        self.open_since = None;
    }

    /// In buffered rounds, gives up devices whose leases have ended, so that others are asked.
    fn note_expired(&mut self) {
        if self.state.spec.rounds.staleness_cap() == 0 {
            return;
        }
        for device in self.state.expired(self.core.clock.now_ms()) {
            if !self.abandoned.contains(&device) && !self.collection.is_pending(&device) {
                self.abandoned.push(device);
            }
        }
    }

    fn tell_round(&self) {
        let view = self.view.borrow();
        self.core.tell(watch_response::Event::Run(view.run.clone()));
        if let Some(round) = view.history.last().cloned() {
            let run_id = self.state.id.to_string();
            let round = Some(round);
            self.core
                .tell(watch_response::Event::Round(v1::RoundChanged {
                    run_id,
                    round,
                }));
        }
    }

    fn finish(&self) {
        self.core
            .tell(watch_response::Event::Run(self.view.borrow().run.clone()));
        let most = self.state.spec.rounds.needed_participations();
        tracing::info!(run = %self.state.id, status = ?self.state.status, most, "run is over");
        if self
            .state
            .history
            .iter()
            .all(|record| record.model.is_none())
        {
            return;
        }
        let round = self.state.round.number;
        for (index, region) in self.state.spec.regions.iter().enumerate() {
            let model = self.state.models_of(round, index).first();
            let model = model.unwrap_or(&self.state.model).to_string();
            for device in self.core.fleet.reachable(region, &self.state.spec.task) {
                let published = v1::ModelPublished {
                    run_id: self.state.id.to_string(),
                    round,
                    model_digest: model.clone(),
                };
                let directive = directive::Directive::ModelPublished(published);
                self.core.fleet.send(
                    &device,
                    v1::Directive {
                        directive: Some(directive),
                    },
                );
            }
        }
    }
}
