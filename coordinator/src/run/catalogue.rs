//! The runs of a coordinator: those that go on, with their handles; those that are over, of which
//! next to nothing stays in memory; and those that are set aside.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tributary_proto::RunId;
use tributary_proto::v1;

use super::journal::{Journal, RunRecord};
use super::{RunHandle, RunView};
use crate::CoordinatorError;
use crate::core::Core;
use crate::engine::Reject;
use crate::monitor::problem_of;
use crate::quarantine::Cause;

/// What is kept in memory of one run.
#[derive(Clone)]
enum Entry {
    Live(Box<RunHandle>),
    Over { started_ms: u64, delta: f64 },
    SetAside(Cause),
}

/// A run of a list, with what is in memory of it.
pub struct Listed {
    /// The run.
    pub id: RunId,
    entry: Entry,
}

/// The runs by id.
#[derive(Default)]
pub struct Catalogue {
    runs: Mutex<BTreeMap<RunId, Entry>>,
}

impl Catalogue {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<RunId, Entry>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The runs that go on, by id.
    pub fn live(&self) -> Vec<RunHandle> {
        let runs = self.lock();
        let live = runs.values().filter_map(|entry| match entry {
            Entry::Live(handle) => Some(handle.as_ref().clone()),
            Entry::Over { .. } | Entry::SetAside(_) => None,
        });
        live.collect()
    }

    /// True when any run goes on.
    pub fn any_live(&self) -> bool {
        let runs = self.lock();
        runs.values().any(|entry| matches!(entry, Entry::Live(_)))
    }

    /// True when the id is taken.
    pub fn is_known(&self, id: &RunId) -> bool {
        self.lock().contains_key(id)
    }

    /// Checks an id.
    ///
    /// # Errors
    /// When there is no such run.
    pub fn must_know(&self, id: &RunId) -> Result<(), CoordinatorError> {
        match self.is_known(id) {
            true => Ok(()),
            false => Err(unknown(id)),
        }
    }

    /// A run that goes on.
    ///
    /// # Errors
    /// When it is over, set aside, or not known.
    pub fn handle(&self, id: &RunId) -> Result<RunHandle, CoordinatorError> {
        match self.lock().get(id) {
            Some(Entry::Live(handle)) => Ok(handle.as_ref().clone()),
            Some(Entry::Over { .. }) => Err(Reject::RunOver.into()),
            Some(Entry::SetAside(cause)) => Err(set_aside(id, cause)),
            None => Err(unknown(id)),
        }
    }

    /// Adds a run that goes on.
    pub fn add(&self, id: RunId, handle: RunHandle) {
        self.lock().insert(id, Entry::Live(Box::new(handle)));
    }

    /// Notes that a run is over: its view is read from the store from now on.
    pub fn over(&self, id: RunId, started_ms: u64, delta: f64) {
        self.lock().insert(id, Entry::Over { started_ms, delta });
    }

    /// Notes that a run is set aside.
    pub fn set_aside(&self, id: RunId, cause: Cause) {
        self.lock().insert(id, Entry::SetAside(cause));
    }

    /// Delta of the statements of every run.
    pub fn deltas(&self) -> Vec<(RunId, f64)> {
        let runs = self.lock();
        let delta = |(id, entry): (&RunId, &Entry)| match entry {
            Entry::Live(handle) => {
                let privacy = handle.view().run.privacy;
                privacy.map(|privacy| (id.clone(), privacy.delta))
            }
            Entry::Over { delta, .. } => Some((id.clone(), *delta)),
            Entry::SetAside(_) => None,
        };
        runs.iter().filter_map(delta).collect()
    }

    /// The runs, newest first; before them those that are set aside, whenever they were started.
    pub fn newest(&self) -> Vec<Listed> {
        let runs = self.lock();
        let started = |entry: &Entry| match entry {
            Entry::Live(handle) => handle.view().run.started_unix_ms,
            Entry::Over { started_ms, .. } => *started_ms,
            Entry::SetAside(_) => u64::MAX,
        };
        let dated = runs.iter().map(|(id, entry)| (started(entry), id, entry));
        let mut dated: Vec<_> = dated.collect();
        dated.sort_by(|one, other| (other.0, one.1).cmp(&(one.0, other.1)));
        let rows = dated.into_iter().map(|(_, id, entry)| Listed {
            id: id.clone(),
            entry: entry.clone(),
        });
        rows.collect()
    }
}

impl Core {
    /// Runs of the catalogue as lists show them. Reads a record of each that is over.
    ///
    /// # Errors
    /// When the store can't be read. A run whose own record is damaged is shown as such.
    pub async fn list_runs(&self, listed: Vec<Listed>) -> Result<Vec<v1::Run>, CoordinatorError> {
        let mut runs = Vec::new();
        for Listed { id, entry } in listed {
            runs.push(match entry {
                Entry::Live(handle) => handle.view().run,
                Entry::SetAside(cause) => self.damaged_run(&id, &cause),
                Entry::Over { .. } => match self.over_run(&id).await {
                    Ok(run) => self.with_damage(run),
                    Err(error) => self.damaged_run(&id, &Cause::from(&error)),
                },
            });
        }
        Ok(runs)
    }

    /// Says of a finished run that its version is damaged, where that is known.
    fn with_damage(&self, mut run: v1::Run) -> v1::Run {
        if let Some(cause) = self.quarantine.cause("object", &run.model_digest) {
            let before = if run.reason.is_empty() { "" } else { "; " };
            run.reason = format!("{}{before}{}", run.reason, cause.shown());
        }
        run
    }

    async fn over_run(&self, id: &RunId) -> Result<v1::Run, CoordinatorError> {
        match RunRecord::read(self, id)?.over {
            Some(over) => over.message(),
            None => Ok(self.over_view(id).await?.run),
        }
    }

    async fn over_view(&self, id: &RunId) -> Result<RunView, CoordinatorError> {
        let record = RunRecord::read(self, id)?;
        if record.is_note()
            && let Some(over) = &record.over
        {
            return Ok(RunView {
                run: over.message()?,
                ..RunView::default()
            });
        }
        let unread = match Journal::recover(self, id).await {
            Ok((_, state)) => {
                let mut view = RunView::default();
                view.update(&state, "");
                return Ok(view);
            }
            Err(unread) => unread,
        };
        let Some(mut run) = short_message(&record) else {
            return Err(unread);
        };
        run.warnings.push(format!(
            "the rounds of this run can't be shown ({}); it is over, and its model versions are kept: put a \
             backup of the data folder back to see them",
            Cause::from(&unread).shown()
        ));
        Ok(RunView {
            run,
            ..RunView::default()
        })
    }

    /// Whether a run is over of which what lists say can be shown, whatever became of its rounds.
    pub(crate) fn shows_without_rounds(&self, id: &RunId) -> bool {
        RunRecord::read(self, id).is_ok_and(|record| short_message(&record).is_some())
    }

    /// The marks of a run. Of one that is over its short record is read, not the run.
    ///
    /// # Errors
    /// When it is not known, set aside, or can't be read.
    pub async fn run_marks(&self, id: &RunId) -> Result<Vec<String>, CoordinatorError> {
        match self.catalogue.handle(id) {
            Ok(handle) => Ok(handle.view().run.marks),
            Err(CoordinatorError::Reject(Reject::RunOver)) => Ok(self.over_run(id).await?.marks),
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
            Err(CoordinatorError::Reject(Reject::RunOver)) => {
                let mut view = self.over_view(id).await?;
                view.run.warnings.extend(problem_of(self, id));
                Ok(view)
            }
            Err(CoordinatorError::SetAside { cause, code, .. }) => {
                let cause = Cause {
                    code,
                    sentence: cause,
                };
                Ok(RunView {
                    run: self.damaged_run(id, &cause),
                    ..RunView::default()
                })
            }
            Err(error) => Err(error),
        }
    }
}

/// What lists say of a run that is over; none where its record does not have it.
fn short_message(record: &RunRecord) -> Option<v1::Run> {
    let run = record.over.as_ref()?.message().ok()?;
    (!run.run_id.is_empty()).then_some(run)
}

fn unknown(id: &RunId) -> CoordinatorError {
    let remedy = "see `tributary run ls` for the ids";
    CoordinatorError::unknown("run", id.as_str(), remedy)
}

/// The refusal of a run that is set aside.
pub(super) fn set_aside(id: &RunId, cause: &Cause) -> CoordinatorError {
    CoordinatorError::SetAside {
        what: "run",
        name: id.to_string(),
        cause: cause.sentence.clone(),
        code: cause.code,
    }
}

impl Core {
    /// What can be said of a run whose records can't be read: the ledger still knows what it spent.
    pub(super) fn damaged_run(&self, id: &RunId, cause: &Cause) -> v1::Run {
        v1::Run {
            run_id: id.to_string(),
            state: v1::RunState::Quarantined.into(),
            reason: format!(
                "{}; nothing of it was changed: put the data folder back from a backup, or end the run \
                 for good with `tributary run stop {id}`",
                cause.shown()
            ),
            privacy: self.spent_by(id),
            ..v1::Run::default()
        }
    }
}
