//! What can't go on for now, and what a crash or a restart has cut off.

use tokio::time::Instant;
use tributary_proto::DeviceId;

use super::{Actor, End};
use crate::CoordinatorError;
use crate::engine::{AssignmentState, DropReason, Event, Phase};
use crate::run::supervise::{MOST_RELEASES, Mishap};
use crate::store::{StoreError, Table};

/// How the reason of a run begins that has no room on the disk.
pub const NO_SPACE: &str = "waiting for space";

/// True when what is in memory can't be relied on after this error.
fn needs_reload(error: &CoordinatorError) -> bool {
    match error {
        CoordinatorError::Crashed(_)
        | CoordinatorError::Inconsistent(_)
        | CoordinatorError::Misfit { .. } => true,
        // the journal on disk is longer than the one in memory
        CoordinatorError::Store(StoreError::Conflict { table, .. }) => {
            matches!(table, Table::RunEvents | Table::Runs)
        }
        _ => false,
    }
}

impl Actor {
    /// Says why the run can't go on now; it tries again, ever more seldom. Gives the actor's end when
    /// trying again would build on sand.
    pub(super) fn stumble(&mut self, error: CoordinatorError) -> Option<End> {
        if needs_reload(&error) {
            let suspects = std::mem::take(&mut self.suspects);
            return Some(End::Reload { error, suspects });
        }
        if self.backoff.failed(Instant::now()) {
            let (code, failures) = (error.code(), self.backoff.failures());
            tracing::error!(run = %self.state.id, %error, code, failures, "run can't go on");
        }
        self.lacks_space = error.is_disk_full();
        self.reason = if self.lacks_space {
            format!("{NO_SPACE}: {error}")
        } else {
            error.to_string()
        };
        let telemetry = &self.core.telemetry;
        let is_new = telemetry.health.is_amiss(&self.name(), &self.reason);
        if self.lacks_space && is_new {
            let waits = &telemetry.space_waits;
            waits.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        self.show();
        None
    }

    /// Notes that the stores work.
    pub(super) fn recovered(&mut self) {
        let failures = self.backoff.succeeded();
        self.lacks_space = false;
        if failures > 0 {
            self.reason.clear();
            self.is_well();
            tracing::info!(run = %self.state.id, failures, "run goes on");
        }
    }

    /// Takes the run off the list of what is amiss.
    pub(super) fn is_well(&self) {
        self.core.telemetry.health.is_well(&self.name());
    }

    pub(super) fn name(&self) -> String {
        format!("run {}", self.state.id)
    }

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
