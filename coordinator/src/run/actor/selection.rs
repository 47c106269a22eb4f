//! Who takes part in a round, and what they are told.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;
use tributary_model::Digest;
use tributary_proto::DeviceId;
use tributary_proto::v1::{self, directive};

use super::super::journal::DEVICES_PER_EVENT;
use super::Actor;
use crate::CoordinatorError;
use crate::engine::{Assigned, AssignmentState, Candidate, Event, Lease, Phase, select};
use crate::epoch::Place;
use crate::ledger::{ChargeKind, Exposure};
use crate::random::seeded_bytes;
use crate::run::wire_plan::training_plan;

/// How often devices are looked for while a round waits for them.
const SELECT_EVERY: Duration = Duration::from_millis(100);
/// Wait for a full cohort before a smaller one above the minimum is taken.
const PATIENCE_MS: u64 = 10_000;

impl Actor {
    /// Sends the assignment to those of `devices` that hold one and have not answered.
    pub(super) fn offer(&self, devices: &[DeviceId]) {
        if self.core.halt.is_halted() {
            return;
        }
        let collecting = self.state.round.phase == Phase::Collecting;
        let number = self.state.round.number;
        let now_ms = self.core.clock.service_ms();
        for device in devices {
            let Some(lease) = self.state.round.leases.get(device) else {
                continue;
            };
            let pending = self.collection.is_pending(device);
            let ended = !self.state.spec.is_seeded() && now_ms > lease.until_ms;
            // a lease from an earlier round goes on between the buffers
            let open = collecting || lease.round < number;
            if lease.state == AssignmentState::Waiting && open && !pending && !ended {
                let lease_ms = if self.state.spec.is_seeded() {
                    self.state.spec.rounds.deadline_ms
                } else {
                    lease.until_ms.saturating_sub(now_ms)
                };
                let assignment = self.assignment(device, lease, lease_ms);
                let assignment = directive::Directive::Assignment(assignment);
                let directive = v1::Directive {
                    directive: Some(assignment),
                };
                self.core.fleet.send(device, directive);
            }
        }
    }

    fn assignment(&self, device: &DeviceId, lease: &Lease, lease_ms: u64) -> v1::Assignment {
        let spec = &self.state.spec;
        let seed = spec
            .seed
            .map(|seed| seeded_bytes(seed, &[b"device"]).to_vec());
        let models = self.state.models_of(lease.round, lease.region);
        let model = models.first().unwrap_or(&self.state.model);
        let clusters = if self.format.payload.clusters() > 1 {
            models
        } else {
            &[]
        };
        let auxiliary = clusters.iter().chain(&self.state.control);
        let plan = training_plan(
            spec,
            (lease.round, self.state.clip()),
            &self.format,
            seed.unwrap_or_default(),
        );
        v1::Assignment {
            run_id: self.state.id.to_string(),
            round: lease.round,
            plan: Some(plan),
            model_digest: model.to_string(),
            lease_ms,
            attempt: lease.attempt,
            auxiliary_digests: auxiliary.map(ToString::to_string).collect(),
            ticket: Some(self.order_ticket(device, lease)),
        }
    }

    /// What proves that a device was given an assignment.
    fn order_ticket(&self, device: &DeviceId, lease: &Lease) -> v1::Ticket {
        let place = Place::of_round(lease.round, lease.attempt);
        let asked = (place, self.state.lineage.of(place));
        self.core.epoch.order(device, self.state.id.as_str(), asked)
    }

    /// Chooses devices for the open round, if enough are there.
    pub(super) async fn select(&mut self) -> Result<(), CoordinatorError> {
        if Instant::now() < self.next_selection {
            return Ok(());
        }
        self.next_selection = Instant::now() + SELECT_EVERY;
        let (reachable, candidates) = self.candidates();
        let rounds = &self.state.spec.rounds;
        // in buffered rounds devices from before are at work already
        let busy = self.state.round.leases.len();
        let eligible = candidates.len() + busy;
        let first = self.state.history.is_empty();
        let now_ms = self.core.clock.service_ms();
        let waited_ms = now_ms.saturating_sub(self.waiting_since_ms);
        let all_here = reachable + self.lost() >= rounds.population() as usize;
        let impatient = waited_ms > PATIENCE_MS && !first && !self.state.spec.is_seeded();
        let wanted = if impatient {
            rounds.minimum()
        } else {
            rounds.cohort
        } as usize;
        let exhausted = self.state.spec.is_seeded() && all_here;
        let trusted = self.state.spec.aggregation.trusted.as_ref();
        let trusted_is_here =
            trusted.is_none_or(|trusted| candidates.iter().any(|other| other.device == *trusted));
        let enough = trusted_is_here && eligible >= wanted
            || trusted_is_here && exhausted && eligible >= rounds.minimum() as usize;
        if enough && (all_here || !(first || self.state.spec.is_seeded())) {
            return self.selected(&candidates).await;
        }
        let missing = match trusted {
            Some(trusted) if !trusted_is_here => {
                format!(" and device {trusted} (aggregation.trusted) may not")
            }
            _ => String::new(),
        };
        self.reason = format!(
            "round {} waits for devices: {reachable} of {} are connected and {eligible} of {} \
             may take part{missing} (participations, separation and budget counted){}",
            self.state.round.number,
            rounds.population(),
            rounds.cohort,
            self.cap_in_the_way(),
        );
        if waited_ms > rounds.selection_timeout_ms || exhausted {
            let reason = format!(
                "{}: connect more devices, lower rounds.cohort, or raise \
                 rounds.max_participations or the privacy cap (`tributary privacy cap`)",
                self.reason
            );
            return self.commit(vec![Event::Failed { reason }]).await;
        }
        self.show();
        Ok(())
    }

    /// That a cap keeps the devices out of a run without privacy, which was set since the run started.
    fn cap_in_the_way(&self) -> String {
        let spec = &self.state.spec;
        let exposure = Exposure::of(spec, spec.privacy.mode.has_noise());
        let ledger = &self.core.ledger;
        if exposure == Exposure::Noised || ledger.is_permitted(self.state.id.as_str()) {
            return String::new();
        }
        let caps = ledger.caps_in_the_way(&spec.regions, exposure);
        let Some(cap) = caps.iter().min_by_key(|cap| cap.pico_rho) else {
            return String::new();
        };
        let what = match exposure {
            Exposure::Seeded => "whose noise is known",
            _ => "without privacy",
        };
        format!(
            "; devices under a cap (epsilon {} at delta {:e}, set since) take no part in a run {what}: stop it, \
             and start it with privacy.mode dp or local without a seed, or with \
             `run start --allow-no-privacy REASON`",
            cap.epsilon, cap.delta
        )
    }

    /// Devices of a seeded run that were in it and went away: it does not wait for them for ever. In
    /// other runs only the first round waits for the whole population.
    fn lost(&self) -> usize {
        if !self.state.spec.is_seeded() {
            return 0;
        }
        let past = self.state.participations.iter();
        let asked_in_vain = past.filter(|(_, past)| past.setbacks > 0);
        asked_in_vain
            .filter(|(device, _)| !self.core.fleet.is_reachable(device))
            .count()
    }

    /// Devices within reach, and those of them that may take part.
    fn candidates(&self) -> (usize, Vec<Candidate>) {
        let spec = &self.state.spec;
        let now_ms = self.core.clock.service_ms();
        let draw = (self.state.id.as_str(), ChargeKind::Training);
        let permitted = self.core.ledger.is_permitted(self.state.id.as_str());
        let exposure = Exposure::of(spec, spec.privacy.mode.has_noise());
        let mut reachable = 0;
        let mut candidates = Vec::new();
        for (region, name) in spec.regions.iter().enumerate() {
            for device in self.core.fleet.reachable(name, &spec.task) {
                reachable += 1;
                let pays = || {
                    let past = self.state.participations.get(&device);
                    let price = self.costs.price(&self.state, past);
                    self.core.ledger.can_pay(&device, name, draw, price)
                        && (permitted || self.core.ledger.may_expose(&device, name, exposure))
                };
                let free = !self.core.fleet.is_reserved(&device);
                let may =
                    self.state.may_participate(&device) && self.state.has_rested(&device, now_ms);
                if free && may && pays() {
                    candidates.push(Candidate { device, region });
                }
            }
        }
        (reachable, candidates)
    }

    async fn selected(&mut self, candidates: &[Candidate]) -> Result<(), CoordinatorError> {
        let chosen = select(&self.state, candidates);
        let ids = chosen
            .iter()
            .map(|assigned| assigned.device.clone())
            .collect();
        let reserved = self.ends.reserve(&self.core, ids);
        if reserved.len() < chosen.len() {
            // another run was faster: give them back and choose again
            self.ends.release(&self.core, &reserved);
            return Ok(());
        }
        self.reason.clear();
        // what was downloaded before the round began belongs to the round before
        for digest in self.offered() {
            self.core.telemetry.take_downloads(&digest);
        }
        let deadline_ms = self.state.spec.rounds.deadline_ms;
        let lease_until_ms = self.core.clock.service_ms().saturating_add(deadline_ms);
        let round = self.state.round.number;
        let parts = chosen.chunks(DEVICES_PER_EVENT);
        let last = parts.len().saturating_sub(1);
        let worst_pico_rho = self.worst_when_asked(&chosen);
        let incarnation = self.core.epoch.incarnation();
        let event = |(index, part): (usize, &[Assigned])| Event::Selected {
            round,
            devices: part.to_vec(),
            lease_until_ms,
            complete: index == last,
            worst_pico_rho,
            incarnation,
        };
        let mut events: Vec<Event> = parts.enumerate().map(event).collect();
        if events.is_empty() {
            // enough are at work from before: the buffer opens for them
            events.push(event((last, &[])));
        }
        let committed = if self.state.spec.privacy.is_charged_when_asked() {
            self.charge_asked(&chosen, events).await
        } else {
            self.commit(events).await
        };
        if self.state.round.phase == Phase::Selecting {
            // nothing was selected: another attempt may take them
            self.ends.release(&self.core, &reserved);
        }
        committed
    }

    /// What devices of the open round may download.
    pub(super) fn offered(&self) -> BTreeSet<Digest> {
        let models = std::iter::once(&self.state.model).chain(&self.state.variants);
        models.chain(&self.state.control).copied().collect()
    }
}
