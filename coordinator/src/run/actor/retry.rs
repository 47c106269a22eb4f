//! When a run that could not go on tries again.

use std::time::Duration;

use tokio::time::Instant;

use super::Actor;
use crate::CoordinatorError;

/// Wait after the first failure; doubled by each further one.
const FIRST: Duration = Duration::from_millis(200);
/// Longest wait: a disk that has room again is noticed so soon.
const LONGEST: Duration = Duration::from_secs(5);
/// How the reason of a run begins that has no room on the disk.
const NO_SPACE: &str = "waiting for space";

/// Waits between tries, growing while they fail.
#[derive(Debug, Default)]
pub struct Retry {
    failures: u32,
    next: Option<Instant>,
}

impl Retry {
    /// Whether it may be tried now.
    pub(super) fn is_due(&self) -> bool {
        self.next.is_none_or(|next| Instant::now() >= next)
    }

    /// Notes a failure; true for the first in a row.
    fn failed(&mut self) -> bool {
        let wait = FIRST
            .saturating_mul(1 << self.failures.min(10))
            .min(LONGEST);
        self.next = Some(Instant::now() + wait);
        self.failures = self.failures.saturating_add(1);
        self.failures == 1
    }

    /// Notes a success; true when failures went before.
    fn succeeded(&mut self) -> bool {
        self.next = None;
        std::mem::take(&mut self.failures) > 0
    }
}

impl Actor {
    /// Says why the run can't go on now. It tries again, later and later, and its log says it once.
    pub(super) fn stumble(&mut self, what: &'static str, error: &CoordinatorError) {
        let first = self.retry.failed();
        self.reason = if error.is_disk_full() {
            format!("{NO_SPACE}: {error}")
        } else {
            error.to_string()
        };
        if first {
            tracing::error!(run = %self.state.id, %error, "run can't {what}; it tries again");
        }
        let telemetry = &self.core.telemetry;
        let is_new = telemetry.health.is_amiss(&self.name(), &self.reason);
        if error.is_disk_full() && is_new {
            let waits = &telemetry.space_waits;
            waits.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        self.show();
    }

    /// Notes that what was due has been done.
    pub(super) fn went_on(&mut self) {
        if self.retry.succeeded() {
            tracing::info!(run = %self.state.id, "run goes on");
            self.reason.clear();
            self.is_well();
            self.show();
        }
    }

    /// Takes the run off the list of what is amiss.
    pub(super) fn is_well(&self) {
        self.core.telemetry.health.is_well(&self.name());
    }

    fn name(&self) -> String {
        format!("run {}", self.state.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_grow_to_five_seconds_and_end_with_the_first_success() {
        let mut retry = Retry::default();
        assert!(retry.is_due());
        assert!(retry.failed());
        assert!(!retry.is_due());
        tokio::time::advance(FIRST).await;
        assert!(retry.is_due());
        for _ in 0..40 {
            assert!(!retry.failed());
        }
        tokio::time::advance(LONGEST - Duration::from_millis(1)).await;
        assert!(!retry.is_due());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(retry.is_due());
        assert!(retry.succeeded() && retry.is_due());
        assert!(!retry.succeeded());
    }
}
