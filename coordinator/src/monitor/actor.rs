//! The life of a monitor: builds, windows one after the other, playbooks, the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tributary_drift::{Calibrator, DriftId, Verdict};
use tributary_proto::RunId;

use super::Monitor;
use super::first_builds::first_builds;
use super::history;
use super::judge::VoteNoise;
use super::mitigation::{Failure, Mitigation, Outcome, start_key};
use super::record::{End, MonitorRecord};
use crate::CoordinatorError;
use crate::core::Core;
use crate::run::started_with;
use crate::spec::DriftSpec;
use crate::store::Batch;

/// Shortest and longest wait after a failure before the next attempt.
const AFTER_FAILURE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Shortest wait before devices are looked for again when none could be asked.
const IDLE: Duration = Duration::from_millis(500);

/// The actor of one monitor.
pub struct Actor {
    pub(super) handle: Monitor,
    pub(super) record: MonitorRecord,
    /// The monitoring; none when the recipe wants builds alone.
    pub(super) drift: Option<DriftSpec>,
    pub(super) noise: VoteNoise,
    pub(super) calibrator: Calibrator,
    mitigations: JoinSet<Outcome>,
}

/// What came of a window.
pub(super) enum Asked {
    /// At least one region was asked.
    Some,
    /// There was nobody to ask.
    Nobody,
    /// The monitor was stopped meanwhile.
    Stopped,
}

impl Actor {
    /// An actor that goes on where the record ends.
    ///
    /// # Errors
    /// When the noise or the cap can't be represented.
    pub fn new(handle: Monitor, record: MonitorRecord) -> Result<Self, CoordinatorError> {
        let spec = &record.header.spec;
        let votes = spec.drift.as_ref().map_or(0.0, |drift| drift.noise_votes);
        Ok(Self {
            noise: VoteNoise::new(votes, spec.seed)?,
            drift: spec.drift.clone(),
            handle,
            record,
            calibrator: Calibrator::new(),
            mitigations: JoinSet::new(),
        })
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.handle.core
    }

    /// Runs until the planned windows are over or an operator ends it; then the monitor leaves memory.
    pub async fn run(mut self) {
        self.go_on().await;
        self.record.header.note = first_builds(&self.handle, &mut self.record).await;
        let mut next = Instant::now();
        let mut failure: Option<(Duration, String)> = None;
        while !self.is_over() {
            let stop = self.handle.stop.clone();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(outcome) = self.mitigations.join_next() => {
                    if let Ok(outcome) = outcome { self.mitigated(outcome).await; }
                    continue;
                }
                () = tokio::time::sleep_until(next) => {}
            }
            let begun = Instant::now();
            next = match self.window().await {
                Ok(asked) => {
                    failure = None;
                    begun + self.pause(&asked)
                }
                Err(error) => Instant::now() + self.back_off(&mut failure, &error),
            };
            // virtual time stands still while a seeded monitor mitigates
            if self.record.header.spec.is_seeded() {
                self.all_mitigated().await;
            }
        }
        self.finish().await;
    }

    /// Waits for every mitigation, or for the end.
    async fn all_mitigated(&mut self) {
        let stop = self.handle.stop.clone();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                outcome = self.mitigations.join_next() => match outcome {
                    Some(Ok(outcome)) => self.mitigated(outcome).await,
                    Some(Err(_)) => {}
                    None => return,
                },
            }
        }
    }

    /// What a restart interrupted.
    async fn go_on(&mut self) {
        let header = &self.record.header;
        let (id, regions) = (header.id.clone(), self.record.regions.len());
        if let Err(error) = history::trim(self.core(), &id, header.next_window, regions).await {
            tracing::warn!(monitor = %id, %error, "old windows stay");
        }
        for index in 0..regions {
            let drift = self.record.regions[index].monitor.drift().cloned();
            if let Some(drift) = drift.filter(|_| self.record.is_mitigating(index)) {
                self.launch(index, drift);
            }
        }
    }

    /// Whether every region has had its windows, and nothing is under way.
    fn is_over(&self) -> bool {
        let Some(drift) = &self.drift else {
            return true;
        };
        let is_done = |index| !self.has_windows_left(index) && !self.record.is_mitigating(index);
        drift.windows.is_some() && (0..self.record.regions.len()).all(is_done)
    }

    /// Whether a region may be asked once more.
    pub(super) fn has_windows_left(&self, index: usize) -> bool {
        let planned = self.drift.as_ref().and_then(|drift| drift.windows);
        planned.is_none_or(|planned| self.record.regions[index].asked < planned)
    }

    /// From the start of one window to that of the next.
    fn pause(&self, asked: &Asked) -> Duration {
        let interval = self.drift.as_ref().map_or(0, |drift| drift.interval_ms);
        let interval = Duration::from_millis(interval.max(1));
        match asked {
            Asked::Some | Asked::Stopped => interval,
            Asked::Nobody => interval.max(IDLE),
        }
    }

    /// How long to wait after a failure: twice as long as after the one before. The same failure is
    /// logged once.
    fn back_off(
        &self,
        failure: &mut Option<(Duration, String)>,
        error: &CoordinatorError,
    ) -> Duration {
        let text = error.to_string();
        let (pause, known) = match failure.take() {
            Some((pause, known)) => ((pause * 2).min(AFTER_FAILURE.1), known == text),
            None => (AFTER_FAILURE.0, false),
        };
        if !known {
            tracing::error!(monitor = %self.handle.id, %error, "window failed; it is tried again");
        }
        *failure = Some((pause, text));
        pause
    }

    /// Puts the end on disk and leaves memory. An operator's stop ends playbooks and their runs.
    async fn finish(mut self) {
        let stopped = self.handle.stop.is_cancelled();
        if stopped {
            self.end_mitigations().await;
        }
        self.record.header.end = Some(End {
            stopped,
            unix_ms: self.core().clock.now_ms(),
        });
        let mut pause = AFTER_FAILURE.0;
        while let Err(error) = self.keep_all().await {
            tracing::error!(monitor = %self.handle.id, %error, "the end can't be kept");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AFTER_FAILURE.1);
        }
        // it charges no more
        let run = self.record.header.run_id.as_str();
        if let Err(error) = self.core().ledger.release(run, None).await {
            tracing::error!(monitor = %self.handle.id, %error, "what it reserved can't be given back");
        }
        self.handle.show(&self.record);
        self.core().remove_monitor(&self.handle.id);
        tracing::info!(monitor = %self.handle.id, stopped, "the monitor has ended");
        // nobody may be waiting
        self.handle.over.send_replace(true);
    }

    async fn keep_all(&self) -> Result<(), CoordinatorError> {
        let mut batch = Batch::new();
        self.record.put(&mut batch)?;
        self.core().store.commit(batch).await?;
        Ok(())
    }

    async fn end_mitigations(&mut self) {
        self.mitigations.shutdown().await;
        for index in 0..self.record.regions.len() {
            if !self.record.is_mitigating(index) {
                continue;
            }
            let started = self.mitigation_started(index).await;
            let region = &mut self.record.regions[index];
            let shown = started
                .or(self.handle.mitigation_run(index))
                .or(region.mitigation.take());
            region.mitigation = shown.clone();
            if let Some(run) = shown.and_then(|id| self.handle.core.run(&id).ok()) {
                // one that is over already needs no end
                let _ = run.stop().await;
            }
            if let Some(drift) = region.monitor.drift().cloned()
                && let Err(error) = region.monitor.mitigation_failed(&drift)
            {
                tracing::error!(monitor = %self.handle.id, %error, "the mitigation stays open");
            }
        }
    }

    /// The run that the open drift of a region has started, also when that was not noted any more.
    async fn mitigation_started(&self, index: usize) -> Option<RunId> {
        let region = &self.record.regions[index];
        let drift = region.monitor.drift()?;
        let key = start_key(&self.record.header.run_id, drift, region.failed);
        let started = started_with(self.core(), &key).await;
        started
            .inspect_err(|error| tracing::error!(monitor = %self.handle.id, %error, "its run can't be found"))
            .ok()?
    }

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

    /// Takes the outcome of a playbook into the region's record.
    async fn mitigated(&mut self, outcome: Outcome) {
        let region = &mut self.record.regions[outcome.index];
        region.since_mitigation = 0;
        region.mitigation = outcome.run.or(region.mitigation.take());
        let stepped = match outcome.result {
            Ok(model) => {
                region.model = model;
                region.builds_failed = 0;
                region.monitor.mitigated(&outcome.drift)
            }
            Err(failure) => {
                tracing::error!(monitor = %self.handle.id, error = %failure, "mitigation failed");
                match failure {
                    Failure::Run(_) => region.failed += 1,
                    Failure::Builds(_) => region.builds_failed += 1,
                }
                region.monitor.mitigation_failed(&outcome.drift)
            }
        };
        let mut batch = Batch::new();
        let kept = match self.record.put_region(outcome.index, &mut batch) {
            Ok(()) => {
                let committed = self.core().store.commit(batch).await;
                committed.map(drop).map_err(CoordinatorError::from)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = stepped.map_err(CoordinatorError::from).and(kept) {
            tracing::error!(monitor = %self.handle.id, %error, "the outcome can't be kept");
        }
        self.handle.show(&self.record);
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
}
