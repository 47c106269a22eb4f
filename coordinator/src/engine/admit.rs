//! What an upload meets: is it wanted now, and when has a round enough?

use tributary_proto::DeviceId;

use super::{AssignmentState, CloseReason, Lease, Phase, Reject, RunState};

impl RunState {
    /// Whether an update of `device` for `round` would be counted now, with `pending` others that are
    /// not sealed yet. FLTrust's device does not count among these: its place is kept anyway.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(
        &self,
        device: &DeviceId,
        round: u32,
        pending: usize,
        now_ms: u64,
    ) -> Result<usize, Reject> {
        let lease = self.round.leases.get(device);
        // a device that was asked in an earlier round answers with that round's number
        match lease {
            Some(lease) if lease.round == round && self.is_running() => {}
            _ => self.in_round(round)?,
        }
        if lease.is_some_and(|lease| lease.state == AssignmentState::Counted) {
            return Err(Reject::Duplicate);
        }
        let buffered = self.spec.rounds.staleness_cap() > 0;
        if buffered && lease.is_some() && self.round.phase != Phase::Collecting {
            return Err(Reject::BetweenBuffers);
        }
        self.in_phase(Phase::Collecting)?;
        let lease = lease
            .filter(|lease| lease.round == round)
            .ok_or(Reject::NotAssigned)?;
        // a seeded round closes on its assigned set, so neither time nor order may refuse anyone
        let late = !self.spec.is_seeded() && now_ms > lease.until_ms;
        if lease.state == AssignmentState::Dropped || late {
            return Err(Reject::LeaseExpired);
        }
        if !self.spec.is_seeded() && !self.has_room(device, pending, now_ms) {
            return Err(if buffered {
                Reject::BetweenBuffers
            } else {
                Reject::GoalMet
            });
        }
        Ok(lease.region)
    }

    /// Whether the goal leaves a place for `device`. One is kept for the device that FLTrust compares
    /// all others with, as long as it may still come.
    fn has_room(&self, device: &DeviceId, pending: usize, now_ms: u64) -> bool {
        let trusted = self.spec.aggregation.trusted.as_ref();
        let others = trusted.filter(|trusted| *trusted != device);
        let lease = others.and_then(|trusted| self.round.leases.get(trusted));
        let expected =
            |lease: &Lease| lease.state == AssignmentState::Waiting && now_ms <= lease.until_ms;
        let kept = usize::from(lease.is_some_and(expected));
        let coming = self.round.counted() + pending + kept;
        coming < self.spec.rounds.cohort as usize
    }

    /// Why the open round should stop collecting now, if it should.
    pub fn should_close(&self, now_ms: u64) -> Option<CloseReason> {
        if !self.is_running() || self.round.phase != Phase::Collecting {
            return None;
        }
        if self.round.in_state(AssignmentState::Waiting) == 0 {
            return Some(CloseReason::AllAnswered);
        }
        if self.spec.is_seeded() {
            return None;
        }
        if self.round.counted() >= self.spec.rounds.cohort as usize {
            return Some(CloseReason::GoalMet);
        }
        let expired = self
            .round
            .leases
            .values()
            .all(|lease| now_ms > lease.until_ms);
        expired.then_some(CloseReason::Deadline)
    }

    /// Devices whose leases have ended without an answer. In buffered rounds they would otherwise
    /// count as at work until they are too stale.
    pub fn expired(&self, now_ms: u64) -> Vec<DeviceId> {
        let ended =
            |lease: &Lease| lease.state == AssignmentState::Waiting && now_ms > lease.until_ms;
        let leases = self.round.leases.iter();
        let ended = leases.filter(|(_, lease)| ended(lease));
        ended.map(|(device, _)| device.clone()).collect()
    }
}
