//! The runs of a coordinator.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tributary_proto::RunId;
use tributary_proto::v1;

use super::catalogue::{Catalogue, Entry, Listed};
use super::{Controls, RunHandle, RunView};
use crate::CoordinatorError;
use crate::core::Core;
use crate::engine::{Reject, RunState};
use crate::quarantine::Cause;

/// Runs that have ended, in the order in which they did, as they were at their end.
pub type EndedRuns = mpsc::UnboundedReceiver<RunState>;

/// The runs, over what all parts of a coordinator share.
pub struct Runs {
    /// What all parts share.
    pub core: Arc<Core>,
    /// Which runs there are.
    pub catalogue: Catalogue,
    /// The server's control variates.
    pub controls: Controls,
    /// Held while a run is started, so that ids and idempotency keys are taken one after the other.
    pub starting: Arc<tokio::sync::Mutex<()>>,
    ended: mpsc::UnboundedSender<RunState>,
}

impl Runs {
    /// No run yet; and those that will end, for whoever goes on from them.
    pub fn new(core: Arc<Core>) -> (Arc<Self>, EndedRuns) {
        let (ended, follow) = mpsc::unbounded_channel();
        let runs = Arc::new(Self {
            core,
            catalogue: Catalogue::default(),
            controls: Controls::default(),
            starting: Arc::default(),
            ended,
        });
        tokio::spawn(hear_of_damage(runs.clone()));
        (runs, follow)
    }

    /// Tells that a run has ended. Nobody follows where only runs are looked at.
    pub(super) fn has_ended(&self, state: RunState) {
        let _ = self.ended.send(state);
    }

    /// The runs that go on, by id.
    pub fn live(&self) -> Vec<RunHandle> {
        self.catalogue.live()
    }

    /// One run that goes on.
    ///
    /// # Errors
    /// When it is over, set aside, or not known.
    pub fn handle(&self, id: &RunId) -> Result<RunHandle, CoordinatorError> {
        self.catalogue.handle(id)
    }

    /// Notes that a run's records are damaged.
    pub(crate) fn set_aside(&self, id: &RunId, error: &CoordinatorError) -> Cause {
        let cause = self.core.quarantine.add("run", id.as_str(), error);
        self.catalogue.set_aside(id.clone(), cause.clone());
        cause
    }

    /// Runs of the catalogue as lists show them. Reads a record of each that is over.
    ///
    /// # Errors
    /// When the store can't be read. A run whose own record is damaged is shown as such.
    pub async fn list_runs(&self, listed: Vec<Listed>) -> Result<Vec<v1::Run>, CoordinatorError> {
        let mut runs = Vec::new();
        for Listed { id, entry } in listed {
            runs.push(match entry {
                Entry::Live(handle) => handle.view().run,
                Entry::SetAside(cause) => self.core.damaged_run(&id, &cause),
                Entry::Over { .. } => match self.core.over_run(&id).await {
                    Ok(run) => self.core.with_damage(run),
                    Err(error) => self.core.damaged_run(&id, &Cause::from(&error)),
                },
            });
        }
        Ok(runs)
    }

    /// The marks of a run. Of one that is over its short record is read, not the run.
    ///
    /// # Errors
    /// When it is not known, set aside, or can't be read.
    pub async fn run_marks(&self, id: &RunId) -> Result<Vec<String>, CoordinatorError> {
        match self.catalogue.handle(id) {
            Ok(handle) => Ok(handle.view().run.marks),
            Err(CoordinatorError::Reject(Reject::RunOver)) => {
                Ok(self.core.over_run(id).await?.marks)
            }
            Err(error) => Err(error),
        }
    }

    /// What a run looks like: of one that goes on, now; of one that is over, as the store has it.
    ///
    /// # Errors
    /// When it is not known, or the store can't be read.
    pub async fn run_view(&self, id: &RunId) -> Result<RunView, CoordinatorError> {
        match self.catalogue.handle(id) {
            Ok(handle) => Ok(handle.view()),
            Err(CoordinatorError::Reject(Reject::RunOver)) => self.core.over_view(id).await,
            Err(CoordinatorError::SetAside { cause, code, .. }) => {
                let cause = Cause {
                    code,
                    sentence: cause,
                };
                Ok(RunView {
                    run: self.core.damaged_run(id, &cause),
                    ..RunView::default()
                })
            }
            Err(error) => Err(error),
        }
    }
}

/// Tells the runs at work of objects that are found damaged: one whose devices need it is read from disk
/// again, and set aside.
async fn hear_of_damage(runs: Arc<Runs>) {
    let mut damages = runs.core.damages();
    let stopping = runs.core.stopping.clone();
    let runs = Arc::downgrade(&runs);
    loop {
        let damage = tokio::select! {
            damage = damages.recv() => damage,
            () = stopping.cancelled() => return,
        };
        let (Ok(damage), Some(runs)) = (&damage, runs.upgrade()) else {
            match damage {
                // what was missed is found when it is asked for again
                Err(RecvError::Lagged(_)) => continue,
                _ => return,
            }
        };
        for run in runs.live() {
            run.damaged(damage.digest, &damage.error);
        }
    }
}
