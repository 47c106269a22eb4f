//! What a crash or a restart has cut off.

use tributary_proto::DeviceId;

use super::Actor;
use super::Mishap;
use crate::CoordinatorError;
use crate::engine::{AssignmentState, DropReason, Event, Phase};
use crate::run::supervise::MOST_RELEASES;

impl Actor {
    /// Re-issues what a crash or a failure may have cut off; every part of it is idempotent.
    pub(super) async fn resume(&mut self) -> Result<(), CoordinatorError> {
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
    pub(super) async fn give_up_attempt(&mut self, mishap: Mishap) -> Result<(), CoordinatorError> {
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
}
