//! The actor of one run: commands, timers, and the order of things.
//!
//! - `arrival`: updates that come in
//! - `ends`: what outlives a crash of its task
//! - `closing`: devices that do not answer, and the end of a collection
//! - `selection`: who takes part, and what they are told
//! - `charging`: what the round costs its devices
//! - `publication`: the release
//! - `listening`: what is heard after a start, before anything is charged or released
//! - `retry`: what happens when it can't go on for now

mod arrival;
mod charging;
mod closing;
mod ends;
mod listening;
mod publication;
mod retry;
mod selection;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tributary_model::{Digest, ModelFile};
use tributary_proto::v1::{self, directive, watch_response};
use tributary_proto::{DeviceId, RunId};

pub use self::ends::{End, Ends};
pub(super) use self::listening::after_start;
use self::retry::needs_reload;
use super::collect::{Collection, Sealing, segment_id};
use super::costs::RunCosts;
use super::journal::Journal;
use super::release::Released;
use super::server_state::ServerState;
use super::start::Parts;
use super::supervise::{MOST_RELEASES, Mishap};
use super::{Command, Counted, Format};
use crate::CoordinatorError;
use crate::backoff::Backoff;
use crate::core::Core;
use crate::engine::{AssignmentState, DropReason, Effect, Event, Phase, RunState, Segment};
use crate::failpoint::Place;
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
    /// Blobs of rounds that are over, deleted once a snapshot is written.
    discarded: Vec<Digest>,
}

impl Actor {
    /// An actor that goes on from a state.
    pub(super) fn new(
        core: Arc<Core>,
        state: RunState,
        journal: Journal,
        parts: Parts,
        ends: Ends,
    ) -> Self {
        let now_ms = core.clock.service_ms();
        Self {
            core,
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
            if let Err(error) = outcome
                && let Some(end) = self.stumble(error)
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

    /// Re-issues what a crash or a failure may have cut off; every part of it is idempotent.
    async fn resume(&mut self) -> Result<(), CoordinatorError> {
        self.show();
        if !self.state.is_running() {
            return Ok(()); // the phase is that of the last round, whose work is done
        }
        let waits = self.must_wait();
        if self.core.halt.is_halted() {
            return Ok(());
        }
        match (self.state.round.phase, self.mishap.take()) {
            // what is left out here is done by the first look at the clock after it has waited
            (_, None) if waits => Ok(()),
            (Phase::Selecting | Phase::Collecting, None) => Ok(()),
            (Phase::Sealing, None) => self.charge().await,
            (Phase::Releasing, None) => self.release().await,
            // charged: it can't be given up, but nothing of a release has left the process
            (Phase::Releasing, Some(mishap)) if mishap.crashes < MOST_RELEASES => match waits {
                true => Ok(()),
                false => self.release().await,
            },
            (Phase::Releasing, Some(mishap)) => {
                let reason = mishap.reason;
                self.commit(vec![Event::Failed { reason }]).await
            }
            (_, Some(mishap)) => self.give_up_attempt(mishap).await,
        }
    }

    /// Gives the open attempt up after a crash.
    async fn give_up_attempt(&mut self, mishap: Mishap) -> Result<(), CoordinatorError> {
        let round = self.state.round.number;
        let waits = |device: &DeviceId| {
            let lease = self.state.round.leases.get(device);
            lease.is_some_and(|lease| lease.state == AssignmentState::Waiting)
        };
        let mut events = Vec::new();
        if self.state.round.phase == Phase::Collecting {
            let suspects = mishap.suspects.into_iter().filter(waits);
            let refused = suspects.map(|device| (device, DropReason::Refused));
            events = self.dropped(refused.collect());
        }
        let reason = mishap.reason;
        events.push(Event::Aborted { round, reason });
        self.commit(events).await
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
                        let _ = reply.send(outcome);
                        Ok(())
                    }
                }
            }
        }
    }

    /// True when contributions have waited long enough, fill a record, or are the last.
    fn must_seal(&self) -> bool {
        if self.backoff.waits(Instant::now()) {
            return false; // more contributions come in meanwhile, and are sealed with these
        }
        let waited = self
            .open_since
            .is_some_and(|since| since.elapsed() >= self.seal_every)
            || self.core.stopping.is_cancelled();
        let waiting = self.state.round.in_state(AssignmentState::Waiting);
        let last = self.collection.pending() + self.abandoned.len() >= waiting;
        let coming = self.state.round.counted() + self.collection.pending();
        let goal = coming >= self.state.spec.rounds.cohort as usize;
        self.collection.pending() > 0 && (waited || last || self.collection.is_full())
            || goal && self.collection.pending() > 0 && !self.state.spec.is_seeded()
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

    /// Seals what is open and notes who gave up, in one commit; then closes if that was all.
    async fn collect(&mut self) -> Result<(), CoordinatorError> {
        let begun = Instant::now();
        let round = self.state.round.number;
        let sealings = self.collection.write(&self.core, &self.state.id).await?;
        let mut events = Vec::new();
        for sealing in &sealings {
            let marks = self
                .state
                .update_marks(&sealing.segment.contributors, &sealing.digests);
            let segment = Segment {
                marks,
                ..sealing.segment.clone()
            };
            events.push(Event::Sealed { round, segment });
        }
        let noted: Vec<(DeviceId, DropReason)> = self.abandoned.clone().into_iter().collect();
        events.extend(self.dropped(noted.clone()));
        if let Err(error) = self.persist(&events).await {
            // otherwise receipts are dropped with `sealings`, so the devices send again
            if error.is_disk_full() {
                self.collection.put_back(sealings)?;
            }
            return Err(error);
        }
        self.open_since = None;
        self.applied(&events).await?;
        for (device, _) in &noted {
            self.abandoned.remove(device);
        }
        for sealing in sealings {
            self.collection.sealed(&sealing)?;
            let count = sealing.segment.contributors.len() as u64;
            let counters = &self.core.telemetry;
            counters
                .contributions
                .fetch_add(count, std::sync::atomic::Ordering::Relaxed);
            let segment_id = segment_id(&self.state.key, &sealing.segment.digest);
            self.give_receipts(&segment_id, sealing);
        }
        // sealing may cost at most a tenth of the traffic: large models seal less often
        self.seal_every = (begun.elapsed() * 10).clamp(SEAL_EVERY, SEAL_AT_MOST);
        self.close_if_due().await
    }

    /// Tells the contributors of a durable segment that they are counted, and with which update.
    fn give_receipts(&self, segment_id: &str, sealing: Sealing) {
        let updates = sealing.segment.contributors.iter().zip(&sealing.digests);
        for ((device, digest), waiting) in updates.zip(sealing.receipts) {
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
        self.journal.committed(events);
        self.recovered();
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
            let fits = self.core.failpoint.reach(Place::Applying, &self.state.id);
            let applied = fits.and_then(|()| self.state.apply(event));
            effects.extend(applied.map_err(|reject| self.misfit(reject))?);
            if event.ends_round() {
                let goes_on = |device: &&DeviceId| {
                    self.state.is_running() && self.state.round.leases.contains_key(*device)
                };
                let free = held.iter().filter(|device| !goes_on(device));
                self.ends.release(&self.core, free);
                // here and not in an effect: no failure may carry sums into the next round
                self.round_over();
                self.show();
                self.tell_round();
            }
        }
        self.show();
        let mut outcome = Ok(());
        for effect in effects {
            // boxed: a release ends in a commit, which has effects of its own
            let done = Box::pin(self.effect(effect)).await;
            outcome = self.first_of(outcome, done);
        }
        outcome
    }

    /// The first of two outcomes that is a failure. The second failure is in the log.
    fn first_of(
        &self,
        first: Result<(), CoordinatorError>,
        second: Result<(), CoordinatorError>,
    ) -> Result<(), CoordinatorError> {
        if let (Err(_), Err(error)) = (&first, &second) {
            tracing::warn!(run = %self.state.id, %error, "another failure beside the first");
        }
        first.and(second)
    }

    /// A durable event does not fit: the disk is not what memory says.
    fn misfit(&self, reject: crate::engine::Reject) -> CoordinatorError {
        CoordinatorError::Misfit {
            run: self.state.id.to_string(),
            why: reject.to_string(),
        }
    }

    async fn effect(&mut self, effect: Effect) -> Result<(), CoordinatorError> {
        match effect {
            Effect::Select => {
                self.waiting_since_ms = self.core.clock.service_ms();
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
                Ok(())
            }
            Effect::Discard(digests) => {
                self.discarded.extend(digests);
                self.journal.snapshot(&self.core, &mut self.state).await?;
                while let Some(digest) = self.discarded.last() {
                    self.core.vault.delete(digest).await?;
                    self.discarded.pop();
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
        self.abandoned
            .retain(|device, _| leases.contains_key(device));
        self.open_since = None;
    }

    fn tell_round(&self) {
        let view = self.ends.view.borrow();
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
        self.core.tell(watch_response::Event::Run(
            self.ends.view.borrow().run.clone(),
        ));
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
