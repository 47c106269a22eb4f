//! The life of a monitor: builds, windows one after the other, playbooks, the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tributary_drift::Calibrator;

use super::at_work::Monitor;
use super::first_builds::first_builds;
use super::history;
use super::mitigation::MitigationOutcome;
use super::record::{End, MonitorRecord};
use crate::CoordinatorError;
use crate::core::Core;
use crate::failpoint::Place;
use crate::votes::VoteNoise;
use tributary_recipe::DriftSpec;
use tributary_store::Batch;

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
    pub(super) mitigations: JoinSet<MitigationOutcome>,
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
        self.handle.core()
    }

    /// Runs until the planned windows are over or an operator ends it; then the monitor leaves memory.
    pub async fn run(mut self) {
        self.listen().await;
        if !self.handle.stop.is_cancelled() {
            self.go_on().await;
            self.record.header.note = first_builds(&self.handle, &mut self.record).await;
        }
        let mut next = Instant::now();
        let mut failure: Option<(Duration, String)> = None;
        while !self.is_over() {
            let stop = self.handle.stop.clone();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(outcome) = self.mitigations.join_next() => {
                    // a playbook that crashed says so itself: this is a task that was ended
                    if let Ok(outcome) = outcome { self.mitigated(outcome).await; }
                    continue;
                }
                () = tokio::time::sleep_until(next) => {}
            }
            let begun = Instant::now();
            next = match self.reach_window().await {
                Ok(asked) => {
                    failure = None;
                    self.handle.goes_on();
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

    /// Asks a window, unless a test lets it fail first.
    async fn reach_window(&mut self) -> Result<Asked, CoordinatorError> {
        let run = &self.record.header.run_id;
        self.core().failpoint.reach(Place::Watching, run)?;
        self.window().await
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
        self.handle.fails(error);
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
        self.until_kept("its end", || self.keep_all()).await;
        // it charges no more, and no run that it started goes on; after a crash `recover` does this
        let run = self.record.header.run_id.as_str();
        let ledger = &self.core().ledger;
        self.until_kept("that it charges no more", || ledger.release(run, None))
            .await;
        self.handle.show(&self.record);
        self.handle.monitors.remove(&self.handle.id);
        tracing::info!(monitor = %self.handle.id, stopped, "the monitor has ended");
        // nobody may be waiting
        self.handle.over.send_replace(true);
    }

    /// Does what has to be on disk before the end is told, however long that takes: over a full disk, and
    /// what else may pass.
    async fn until_kept<F>(&self, what: &str, mut keep: impl FnMut() -> F)
    where
        F: Future<Output = Result<(), CoordinatorError>>,
    {
        let mut pause = AFTER_FAILURE.0;
        while let Err(error) = keep().await {
            tracing::error!(monitor = %self.handle.id, %error, "{what} can't be kept");
            self.handle
                .waits_for(format!("{what} can't be kept: {error}"));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AFTER_FAILURE.1);
        }
        self.handle.goes_on();
    }

    async fn keep_all(&self) -> Result<(), CoordinatorError> {
        let mut batch = Batch::new();
        self.record.put(&mut batch)?;
        self.core().store.commit(batch).await?;
        Ok(())
    }
}
