//! The runs of a coordinator: those that go on, with their handles; those that are over, of which
//! next to nothing stays in memory; and those that are set aside.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tributary_proto::RunId;

use super::RunHandle;
use crate::CoordinatorError;
use crate::engine::Reject;
use crate::quarantine::Cause;

/// What is kept in memory of one run.
#[derive(Clone)]
pub(super) enum Entry {
    Live(Box<RunHandle>),
    Over { started_ms: u64, delta: f64 },
    SetAside(Cause),
}

/// A run of a list, with what is in memory of it.
pub struct Listed {
    /// The run.
    pub id: RunId,
    pub(super) entry: Entry,
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
            Some(Entry::SetAside(cause)) => Err(cause.refusal("run", id.as_str())),
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

fn unknown(id: &RunId) -> CoordinatorError {
    let remedy = "see `tributary run ls` for the ids";
    CoordinatorError::unknown("run", id.as_str(), remedy)
}
