//! The transition table of the engine.

use tributary_proto::DeviceId;

use super::{
    AssignmentState, DropReason, Effect, Event, Lease, Phase, Reject, RoundRecord, RoundState,
    RunState, RunStatus, Segment,
};

/// Attempts at one round, that taught nothing about who can't be relied on, before the run fails.
pub const MAX_ATTEMPTS: u32 = 5;

impl RunState {
    /// Whether a fact fits the state.
    ///
    /// # Errors
    /// [`Reject`] when it does not.
    pub fn check(&self, event: &Event) -> Result<(), Reject> {
        if !self.is_running() {
            return Err(Reject::RunOver);
        }
        match event {
            Event::Selected { round, devices, .. } => {
                self.expects(*round, Phase::Selecting)?;
                let known = |one: &super::Assigned| one.region < self.spec.regions.len();
                if devices.iter().all(known) {
                    Ok(())
                } else {
                    Err(Reject::NotAssigned)
                }
            }
            Event::Dropped { round, devices, .. } => {
                self.expects(*round, Phase::Collecting)?;
                let known = |device| self.round.leases.contains_key(device);
                if devices.iter().all(known) {
                    Ok(())
                } else {
                    Err(Reject::NotAssigned)
                }
            }
            Event::Sealed { round, segment } => {
                self.expects(*round, Phase::Collecting)?;
                self.check_segment(segment)
            }
            Event::Closed { round, .. } => {
                self.expects(*round, Phase::Collecting)?;
                let enough = self.round.counted() >= self.spec.rounds.minimum() as usize;
                if enough {
                    Ok(())
                } else {
                    Err(Reject::BelowMinimum)
                }
            }
            Event::Charged { round, .. } => self.expects(*round, Phase::Sealing),
            Event::AfterLoss { round } | Event::Published { round, .. } => {
                self.expects(*round, Phase::Releasing)
            }
            Event::Aborted { round, .. } => {
                self.in_round(*round)?;
                let charged = self.round.phase == Phase::Releasing;
                if charged {
                    Err(Reject::WrongPhase)
                } else {
                    Ok(())
                }
            }
            Event::Unheard { round, .. } => self.in_round(*round),
            Event::Stopped | Event::Failed { .. } => Ok(()),
        }
    }

    /// Whether facts that do not depend on each other fit the state.
    ///
    /// # Errors
    /// The first [`Reject`].
    pub fn check_all(&self, events: &[Event]) -> Result<(), Reject> {
        events.iter().try_for_each(|event| self.check(event))
    }

    /// Applies a fact and says what to do about it.
    ///
    /// # Errors
    /// [`Reject`] when the fact does not fit; the state is then untouched.
    pub fn apply(&mut self, event: &Event) -> Result<Vec<Effect>, Reject> {
        self.check(event)?;
        Ok(match event {
            Event::Selected {
                devices,
                lease_until_ms,
                complete,
                worst_pico_rho,
                incarnation,
                ..
            } => {
                self.lineage.note(self.place(), *incarnation);
                let worst = self.round.worst_pico_rho.max(*worst_pico_rho);
                self.round.worst_pico_rho = worst;
                self.selected(devices, *lease_until_ms, *complete)
            }
            Event::Dropped {
                devices, reason, ..
            } => self.dropped(devices, *reason),
            Event::Sealed { segment, .. } => self.sealed(segment),
            Event::Closed { .. } => {
                self.round.phase = Phase::Sealing;
                vec![Effect::Charge]
            }
            Event::Charged {
                pico_rho,
                worst_pico_rho,
                ..
            } => {
                self.round.charged_pico_rho = *pico_rho;
                self.round.worst_pico_rho = *worst_pico_rho;
                self.round.phase = Phase::Releasing;
                vec![Effect::Release]
            }
            Event::AfterLoss { .. } => {
                self.after_loss = true;
                Vec::new()
            }
            Event::Published { .. } => self.released(event),
            Event::Aborted { reason, .. } => self.aborted(reason),
            Event::Unheard { count, .. } => {
                self.round.unheard = Some(*count);
                Vec::new()
            }
            Event::Stopped => self.over(RunStatus::Stopped, "stopped by an operator"),
            Event::Failed { reason } => self.over(RunStatus::Failed(reason.clone()), reason),
        })
    }

    fn expects(&self, round: u32, phase: Phase) -> Result<(), Reject> {
        self.in_round(round)?;
        self.in_phase(phase)
    }

    pub(super) fn in_round(&self, round: u32) -> Result<(), Reject> {
        if !self.is_running() {
            return Err(Reject::RunOver);
        }
        if self.round.number == round {
            Ok(())
        } else {
            Err(Reject::WrongRound)
        }
    }

    pub(super) fn in_phase(&self, phase: Phase) -> Result<(), Reject> {
        if self.round.phase == phase {
            Ok(())
        } else {
            Err(Reject::WrongPhase)
        }
    }

    fn selected(
        &mut self,
        devices: &[super::Assigned],
        until_ms: u64,
        complete: bool,
    ) -> Vec<Effect> {
        for assigned in devices {
            let state = AssignmentState::Waiting;
            let lease = Lease {
                region: assigned.region,
                round: self.round.number,
                attempt: self.round.attempt,
                until_ms,
                state,
                mark: None,
            };
            self.round
                .leases
                .entry(assigned.device.clone())
                .or_insert(lease);
            if self.spec.privacy.is_charged_when_asked() {
                self.take_part(assigned.device.clone(), until_ms, true);
            }
        }
        if !complete {
            return Vec::new();
        }
        self.round.phase = Phase::Collecting;
        // those from earlier rounds are at work, but one that reconnected meanwhile has to be told
        vec![Effect::Offer(self.round.leases.keys().cloned().collect())]
    }

    fn dropped(&mut self, devices: &[DeviceId], reason: DropReason) -> Vec<Effect> {
        for device in devices {
            let Some(lease) = self.round.leases.get_mut(device) else {
                continue;
            };
            if lease.state == AssignmentState::Waiting {
                lease.state = AssignmentState::Dropped;
                *self.round.drops.entry(reason).or_default() += 1;
                self.round.learned |= self.push_back(device, reason);
            }
        }
        Vec::new()
    }

    fn check_segment(&self, segment: &Segment) -> Result<(), Reject> {
        if segment.region >= self.spec.regions.len() {
            return Err(Reject::NotAssigned);
        }
        let mut seen = std::collections::BTreeSet::new();
        for device in &segment.contributors {
            let lease = self.round.leases.get(device).ok_or(Reject::NotAssigned)?;
            if lease.region != segment.region {
                return Err(Reject::NotAssigned);
            }
            if lease.state == AssignmentState::Counted || !seen.insert(device) {
                return Err(Reject::Duplicate);
            }
        }
        Ok(())
    }

    fn sealed(&mut self, segment: &Segment) -> Vec<Effect> {
        for (index, device) in segment.contributors.iter().enumerate() {
            if let Some(lease) = self.round.leases.get_mut(device) {
                lease.state = AssignmentState::Counted;
                lease.mark = segment.marks.get(index).copied();
            }
        }
        self.round.segments.push(segment.clone());
        Vec::new()
    }

    fn aborted(&mut self, reason: &str) -> Vec<Effect> {
        self.count_contributors(false);
        let spent = self.worst_so_far();
        self.record(None, 0, reason.to_owned(), spent);
        let fruitless = self.round.fruitless + u32::from(!self.round.learned);
        if fruitless >= MAX_ATTEMPTS {
            let why = format!(
                "round {} was given up {} times, the last time because {reason}",
                self.round.number, self.round.attempt
            );
            self.status = RunStatus::Failed(why);
            return vec![Effect::Discard(self.last_digests()), Effect::Finish];
        }
        let discard = Effect::Discard(self.segment_digests());
        self.turn_key();
        let next = RoundState::open(self.round.number, self.round.attempt + 1);
        self.round = RoundState { fruitless, ..next };
        vec![discard, Effect::Select]
    }

    fn over(&mut self, status: RunStatus, reason: &str) -> Vec<Effect> {
        self.count_contributors(false);
        let spent = self.worst_so_far();
        self.record(None, 0, reason.to_owned(), spent);
        self.status = status;
        vec![Effect::Discard(self.last_digests()), Effect::Finish]
    }

    /// Counts the contributors of the open round; under local noise they were when they were asked.
    pub(super) fn count_contributors(&mut self, published: bool) {
        if published {
            let counted: Vec<DeviceId> = self.round.contributors().cloned().collect();
            counted.iter().for_each(|device| self.forgive(device));
        }
        if self.spec.privacy.is_charged_when_asked() {
            return;
        }
        let until = |device: &DeviceId| {
            let lease = self.round.leases.get(device);
            (device.clone(), lease.map_or(0, |lease| lease.until_ms))
        };
        let contributors: Vec<(DeviceId, u64)> = self.round.contributors().map(until).collect();
        for (device, until_ms) in contributors {
            self.take_part(device, until_ms, published);
        }
    }

    /// zCDP of the device that spent most, the open round included.
    pub(super) fn worst_so_far(&self) -> u64 {
        let before = self.history.last();
        let before = before.map_or(0, |record| record.worst_pico_rho);
        before.max(self.round.worst_pico_rho)
    }

    /// What a run that is over leaves nothing of: the last sums, and the server's state. Correlated
    /// noise in it would take the noise of the last release back. Who sent what is forgotten as well; who was
    /// counted is noted by now, which is kept.
    pub(super) fn last_digests(&mut self) -> Vec<tributary_model::Digest> {
        let mut digests = self.segment_digests();
        digests.extend(self.server.take());
        self.keeps_last = true;
        self.forget_round();
        digests
    }

    pub(super) fn segment_digests(&self) -> Vec<tributary_model::Digest> {
        self.round
            .segments
            .iter()
            .map(|segment| segment.digest)
            .collect()
    }

    pub(super) fn record(
        &mut self,
        model: Option<tributary_model::Digest>,
        bytes_down: u64,
        reason: String,
        worst_pico_rho: u64,
    ) {
        self.history.push(RoundRecord {
            number: self.round.number,
            model,
            assigned: self.round.leases.len() as u64,
            counted: self.round.counted_by_region(self.spec.regions.len()),
            dropped: self.round.in_state(AssignmentState::Dropped) as u64,
            bytes_down,
            bytes_up: self
                .round
                .segments
                .iter()
                .map(|segment| segment.bytes_up)
                .sum(),
            reason,
            worst_pico_rho,
            clip: self.clip(),
            drops: self.round.drops.clone(),
            unheard: self.round.unheard,
        });
    }
}
