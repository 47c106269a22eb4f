//! A disk without room: a monitor gives nothing up, and goes on by itself once there is some.

use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::at_work::Monitor;
use crate::CoordinatorError;
use crate::backoff::Backoff;
use crate::run::NO_SPACE;
use tributary_store::Batch;

impl Monitor {
    /// Does what ends in a commit, and again while the disk has no room, ever more seldom. What devices
    /// have sent stays in memory meanwhile, and the monitor says what it waits for.
    ///
    /// # Errors
    /// Those of `commit`; that there is no room only once the monitor is stopped.
    pub(super) async fn with_room<T, F>(
        &self,
        mut commit: impl FnMut() -> F,
    ) -> Result<T, CoordinatorError>
    where
        F: Future<Output = Result<T, CoordinatorError>>,
    {
        let mut backoff = Backoff::default();
        loop {
            let outcome = commit().await;
            let full = match &outcome {
                Err(error) => error.is_disk_full() && !self.stop.is_cancelled(),
                Ok(_) => false,
            };
            if let (true, Err(error)) = (full, &outcome) {
                self.lacks_room(error, &mut backoff).await;
                continue;
            }
            if backoff.succeeded() > 0 {
                self.has_room();
            }
            return outcome;
        }
    }

    /// Commits a batch, once there is room for it.
    ///
    /// # Errors
    /// As [`Monitor::with_room`].
    pub(super) async fn commit(&self, batch: &Batch) -> Result<(), CoordinatorError> {
        let commit = || async {
            self.core().store.commit(batch.clone()).await?;
            Ok(())
        };
        self.with_room(commit).await
    }

    /// Says that there is no room, and waits a while or until the monitor is stopped.
    pub(super) async fn lacks_room(&self, error: &CoordinatorError, backoff: &mut Backoff) {
        let reason = format!("{NO_SPACE}: {error}");
        if backoff.failed(Instant::now()) {
            let failures = backoff.failures();
            tracing::error!(monitor = %self.id, %error, failures, "monitor can't go on");
        }
        let telemetry = &self.core().telemetry;
        if telemetry.health.is_amiss(&self.name(), &reason) {
            telemetry.space_waits.fetch_add(1, Ordering::Relaxed);
        }
        self.waits_for(reason);
        let until = backoff.until().unwrap_or_else(Instant::now);
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Says that it goes on.
    pub(super) fn has_room(&self) {
        self.goes_on();
        tracing::info!(monitor = %self.id, "monitor goes on");
    }

    /// Shows why it can't go on for now, in lists and on `/readyz`.
    pub(super) fn fails(&self, error: &CoordinatorError) {
        let reason = format!(
            "it can't go on, and tries again: {error} [{}]",
            error.code()
        );
        self.core().telemetry.health.is_amiss(&self.name(), &reason);
        self.waits_for(reason);
    }

    /// Shows that nothing is amiss with it any more.
    pub(super) fn goes_on(&self) {
        self.waits_for(String::new());
        self.core().telemetry.health.is_well(&self.name());
    }

    fn name(&self) -> String {
        format!("monitor {}", self.id)
    }
}
