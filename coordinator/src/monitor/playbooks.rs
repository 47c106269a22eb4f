//! The playbooks of a monitor: begun, taken in, and ended with the runs that they started.
//!
//! A run that a playbook starts draws on what the monitor's run has reserved. So it is never left unknown
//! whether there is one: starting it is not cut off in the middle, it is found again by its key after a
//! crash, and what is reserved is given back only once no such run goes on.

use tokio::time::Instant;
use tributary_drift::{DriftId, Verdict};
use tributary_proto::RunId;

use super::actor::Actor;
use super::mitigation::{Failure, Mitigation, MitigationOutcome, start_key};
use crate::CoordinatorError;
use crate::backoff::Backoff;
use crate::engine::Reject;
use crate::run::{RunView, started_with};
use tributary_store::Batch;

impl Actor {
    /// Begins the playbook of a drift, or goes on with it after a restart.
    pub(super) fn launch(&mut self, index: usize, drift: DriftId) {
        let region = &self.record.regions[index];
        let mitigation = Mitigation {
            handle: self.handle.clone(),
            spec: self.record.header.spec.clone(),
            run_id: self.record.header.run_id.clone(),
            index,
            drift,
            model: region.model,
            failed: region.failed,
        };
        self.mitigations.spawn(mitigation.run());
    }

    /// Whether a region's verdict calls for a launch.
    pub(super) fn launch_if_due(&mut self, index: usize) {
        let region = &self.record.regions[index];
        if region.monitor.state() == Verdict::Mitigating
            && let Some(drift) = region.monitor.drift().cloned()
        {
            self.launch(index, drift);
        }
    }

    /// Takes the outcome of a playbook into the region's record.
    pub(super) async fn mitigated(&mut self, outcome: MitigationOutcome) {
        let region = &mut self.record.regions[outcome.index];
        region.since_mitigation = 0;
        region.mitigation = outcome.run.or(region.mitigation.take());
        let stepped = match outcome.result {
            Ok(model) => {
                region.model = model;
                region.builds_failed = 0;
                region.failure.clear();
                region.monitor.mitigated(&outcome.drift)
            }
            Err(failure) => {
                tracing::error!(monitor = %self.handle.id, error = %failure, "mitigation failed");
                region.failure = format!("the last playbook failed: {failure}");
                match failure {
                    Failure::Run(_) => region.failed += 1,
                    Failure::Builds(_) => region.builds_failed += 1,
                    Failure::Stopped => {}
                }
                region.monitor.mitigation_failed(&outcome.drift)
            }
        };
        let mut batch = Batch::new();
        let kept = match self.record.put_region(outcome.index, &mut batch) {
            Ok(()) => self.handle.commit(&batch).await,
            Err(error) => Err(error),
        };
        if let Err(error) = stepped.map_err(CoordinatorError::from).and(kept) {
            tracing::error!(monitor = %self.handle.id, %error, "the outcome can't be kept");
        }
        self.handle.show(&self.record);
    }

    /// Ends every playbook, and the run that it started, and comes back when none of them goes on.
    pub(super) async fn end_mitigations(&mut self) {
        // each sees that the monitor is stopped, and says whether it has started a run
        while let Some(outcome) = self.mitigations.join_next().await {
            if let Ok(outcome) = outcome
                && !matches!(outcome.result, Err(Failure::Stopped))
            {
                self.mitigated(outcome).await;
            }
        }
        for index in 0..self.record.regions.len() {
            if !self.record.is_mitigating(index) {
                continue;
            }
            let region = &self.record.regions[index];
            let Some(drift) = region.monitor.drift().cloned() else {
                continue;
            };
            let key = start_key(&self.record.header.run_id, &drift, region.failed);
            let run = self.end_started(&key).await;
            let region = &mut self.record.regions[index];
            region.mitigation = run.or(region.mitigation.take());
            if let Err(error) = region.monitor.mitigation_failed(&drift) {
                tracing::error!(monitor = %self.handle.id, %error, "the mitigation stays open");
            }
        }
    }

    /// Ends the run that was started with this key, if there is one; tries again for as long as it takes.
    async fn end_started(&self, key: &str) -> Option<RunId> {
        let mut backoff = Backoff::default();
        loop {
            let error = match self.try_end_started(key).await {
                Ok(run) => return run,
                Err(error) => error,
            };
            if backoff.failed(Instant::now()) {
                tracing::error!(monitor = %self.handle.id, %error, "the playbook's run goes on");
            }
            self.handle
                .waits_for(format!("the run of its playbook can't be stopped: {error}"));
            if let Some(until) = backoff.until() {
                tokio::time::sleep_until(until).await;
            }
        }
    }

    async fn try_end_started(&self, key: &str) -> Result<Option<RunId>, CoordinatorError> {
        let Some(id) = started_with(&self.handle.monitors.runs, key).await? else {
            return Ok(None);
        };
        // one that is over or set aside does not go on
        if let Ok(run) = self.handle.monitors.runs.handle(&id) {
            match run.stop().await {
                Ok(()) | Err(CoordinatorError::Reject(Reject::RunOver)) => {}
                Err(error) => return Err(error),
            }
            // its task may have ended with it
            let _ = run.follow().wait_for(RunView::is_over).await;
        }
        Ok(Some(id))
    }
}
