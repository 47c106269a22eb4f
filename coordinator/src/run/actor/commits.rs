//! Events: durable first, then applied, then their effects, one after the other from a queue.

use tokio::time::Instant;
use tributary_proto::DeviceId;
use tributary_proto::v1::{self, directive, watch_response};

use super::Actor;
use crate::CoordinatorError;
use crate::engine::{Effect, Event, RunStatus};
use crate::failpoint::Place;
use crate::run::collect::RoundSums;
use crate::run::terms::release_after;
use tributary_store::Batch;

impl Actor {
    /// Persists events and applies them; their effects are due.
    pub(super) async fn commit(&mut self, events: Vec<Event>) -> Result<(), CoordinatorError> {
        self.persist(&events).await?;
        self.applied(&events).await
    }

    /// Persists events; they must be applied next.
    pub(super) async fn persist(&mut self, events: &[Event]) -> Result<(), CoordinatorError> {
        let mut batch = Batch::new();
        self.journal.put(events, &mut batch)?;
        self.state.check_all(events)?;
        self.core.store.commit(batch).await?;
        self.journal.committed(events);
        self.recovered();
        Ok(())
    }

    /// Applies durable events; their effects are due. The end of the run is shown by the last of them, when all
    /// that it leaves is on disk: who sees it may take the folder away.
    pub(super) async fn applied(&mut self, events: &[Event]) -> Result<(), CoordinatorError> {
        for event in events {
            let held: Vec<DeviceId> = if event.ends_round() {
                self.state.round.leases.keys().cloned().collect()
            } else {
                Vec::new()
            };
            let fits = self.core.failpoint.reach(Place::Applying, &self.state.id);
            let applied = fits.and_then(|()| self.state.apply(event));
            let effects = applied.map_err(|reject| self.misfit(reject))?;
            self.effects.extend(effects);
            self.give_back().await;
            if event.ends_round() {
                let goes_on = |device: &&DeviceId| {
                    self.state.is_running() && self.state.round.leases.contains_key(*device)
                };
                let free = held.iter().filter(|device| !goes_on(device));
                self.ends.release(&self.core, free);
                // here and not in an effect: no failure may carry sums into the next round
                self.round_over();
                if self.state.is_running() {
                    self.show();
                    self.tell_round();
                }
            }
        }
        if self.state.is_running() {
            self.show();
        }
        Ok(())
    }

    /// Runs the effects that are due, and those that follow from them, until none is left. One that fails
    /// keeps no other back: the phase of the round says what is tried again.
    pub(super) async fn settle(&mut self) -> Result<(), CoordinatorError> {
        let mut outcome = Ok(());
        while let Some(effect) = self.effects.pop_front() {
            let done = self.effect(effect).await;
            outcome = self.first_of(outcome, done);
        }
        outcome
    }

    /// Gives back what a run has reserved that is over, before anybody is shown its end. What fails is tried
    /// again afterwards.
    async fn give_back(&self) {
        let (id, spec) = (&self.state.id, &self.state.spec);
        if self.state.is_running() {
            return;
        }
        let completed = self.state.status == RunStatus::Completed;
        if let Err(error) = release_after(&self.core, id, spec, completed).await {
            tracing::warn!(run = %id, %error, "what the run reserved is not given back yet");
        }
    }

    /// The first of two outcomes that is a failure. The second failure is in the log.
    pub(super) fn first_of(
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
    pub(super) fn misfit(&self, reject: crate::engine::Reject) -> CoordinatorError {
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
            Effect::Charge => self.charge().await,
            Effect::Release => self.release().await,
            Effect::CountRound => {
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
                self.show();
                self.tell_round();
                self.finish();
                Ok(())
            }
        }
    }

    /// Forgets the round's sums. Whoever still waits for a receipt is told by the closed channel.
    pub(super) fn round_over(&mut self) {
        let regions = self.state.spec.regions.len();
        self.collection = RoundSums::new(self.format.clone(), regions);
        let leases = &self.state.round.leases;
        self.abandoned
            .retain(|device, _| leases.contains_key(device));
        self.open_since = None;
    }

    pub(super) fn tell_round(&self) {
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

    pub(super) fn finish(&self) {
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
