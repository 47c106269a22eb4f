//! What happens when a run can't go on for now, or can't trust what it has in memory.

use tokio::time::Instant;

use super::{Actor, End};
use crate::CoordinatorError;
use crate::run::failure::{NO_SPACE, needs_reload};

impl Actor {
    /// Says why the run can't go on now; it tries again, ever more seldom. Gives the actor's end when
    /// trying again would build on sand.
    pub(super) fn on_failure(&mut self, error: CoordinatorError) -> Option<End> {
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
}
