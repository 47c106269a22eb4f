//! What a run that goes on after a start hears before it charges or releases anything.
//!
//! The folder may have been put back from a copy, and only devices can know. So a run with noise that
//! goes on after a start first waits for the devices that it counts on: those of the open round, and
//! those of the last one. When all of them are back, or one of them and [`LISTEN`] has passed, and none
//! has proved anything that the folder does not know, the run goes on.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;
use tributary_proto::DeviceId;

use super::Actor;
use crate::CoordinatorError;
use crate::engine::{AssignmentState, Event, Phase, RunState};
use crate::epoch::Witness;

/// How long is listened while some devices stay away.
const LISTEN: Duration = Duration::from_secs(10);

/// Who has not been heard since the start.
pub struct Listening {
    missing: BTreeSet<DeviceId>,
    expected: usize,
    since: Instant,
}

impl Listening {
    /// What to wait for; none in a run that has nothing to protect, or that counts on nobody yet.
    pub fn after_start(state: &RunState) -> Option<Self> {
        let protects = state.spec.privacy.mode.has_noise() && !state.spec.is_seeded();
        if !state.is_running() || !protects {
            return None;
        }
        let leases = state.round.leases.iter();
        let open = leases.filter(|(_, lease)| lease.state != AssignmentState::Dropped);
        let last = state.participations.values().map(|past| past.last_round);
        let last = last.max().unwrap_or(0);
        let past = state.participations.iter();
        let recent = past.filter(|(_, past)| last > 0 && past.last_round == last);
        let missing: BTreeSet<DeviceId> = open
            .map(|(device, _)| device.clone())
            .chain(recent.map(|(device, _)| device.clone()))
            .collect();
        (!missing.is_empty()).then(|| Self {
            expected: missing.len(),
            missing,
            since: Instant::now(),
        })
    }

    fn is_over(&self, phase: Phase) -> bool {
        let heard = self.missing.len() < self.expected;
        // a selection needs devices anyway
        let enough = heard || phase == Phase::Selecting;
        self.missing.is_empty() || enough && self.since.elapsed() >= LISTEN
    }
}

impl Actor {
    /// Takes note that a device is back, and halts the coordinator when it proves more of this run
    /// than is known.
    pub(super) async fn hear(&mut self, device: &DeviceId, witnesses: &[Witness]) {
        for witness in witnesses {
            if self.state.contradicts(device, witness) {
                self.core.halt_for(witness).await;
            }
        }
        if let Some(listening) = &mut self.listening {
            listening.missing.remove(device);
        }
    }

    /// True while nothing may be selected, charged or released.
    pub(super) fn must_wait(&mut self) -> bool {
        if let Some(reason) = self.core.halt.reason() {
            self.say(reason);
            return true;
        }
        let Some(listening) = &self.listening else {
            return false;
        };
        if listening.is_over(self.state.round.phase) {
            self.listening = None;
            self.say(String::new());
            return false;
        }
        let back = listening.expected - listening.missing.len();
        self.say(format!(
            "round {} waits for its devices after the start: {back} of {} are back",
            self.state.round.number, listening.expected
        ));
        true
    }

    /// Shows a reason, once.
    fn say(&mut self, reason: String) {
        if self.reason != reason {
            self.reason = reason;
            self.show();
        }
    }

    /// Gives a round up whose devices do not come back: what they gave can't be released unheard. One
    /// that is charged waits on.
    pub(super) async fn give_up_unheard(&mut self) -> Result<(), CoordinatorError> {
        let deadline = Duration::from_millis(self.state.spec.rounds.deadline_ms);
        let (phase, round) = (self.state.round.phase, self.state.round.number);
        let gone = self
            .listening
            .as_ref()
            .is_some_and(|listening| listening.since.elapsed() >= deadline.max(LISTEN));
        let charged = self.state.spec.privacy.is_charged_when_asked() || phase == Phase::Releasing;
        if !gone || charged || self.core.halt.is_halted() || phase == Phase::Selecting {
            return Ok(());
        }
        let reason =
            "no device of the round has come back since the start: what was released before \
                      can't be known"
                .to_owned();
        self.listening = None;
        self.commit(vec![Event::Aborted { round, reason }]).await
    }
}
