//! Ending a run that no task owns: one of a folder that nobody serves, or one that is set aside.

use tributary_proto::RunId;
use tributary_proto::v1;

use super::journal::{Journal, OverRun, RunRecord};
use crate::CoordinatorError;
use crate::core::Core;
use crate::engine::{Effect, Event};
use crate::ledger::ChargeKind;
use tributary_store::blob::BlobError;
use tributary_store::{Batch, Store};

/// Delta of a statement about a run whose recipe can't be read.
pub(super) const DELTA: f64 = 1e-5;

/// What became of a run that was to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It went on, and is failed now.
    Ended,
    /// It was over already.
    WasOver,
    /// It can't be read: a note in its place says that it failed.
    Noted,
}

/// Ends a run for good, if it goes on, and deletes its sums and its noise. Of one that can't be read a
/// note is kept that says so. For a folder that nobody serves.
///
/// # Errors
/// When a store refuses; then it can be repeated.
pub async fn end_run(core: &Core, id: &RunId, reason: &str) -> Result<Ending, CoordinatorError> {
    end_or_note(core, &*core.unguarded, id, reason).await
}

/// Ends it in `store`; of one that can't be read a note is kept.
pub(super) async fn end_or_note(
    core: &Core,
    store: &dyn Store,
    id: &RunId,
    reason: &str,
) -> Result<Ending, CoordinatorError> {
    let known = RunRecord::read(core, id).ok();
    if known.as_ref().is_some_and(RunRecord::is_note) {
        return Ok(Ending::WasOver);
    }
    match end(core, store, id, reason).await {
        Ok(true) => Ok(Ending::Ended),
        Ok(false) => Ok(Ending::WasOver),
        Err(error) if is_of_the_moment(&error) => Err(error),
        Err(damage) => {
            tracing::warn!(run = %id, error = %damage, "a note takes the place of this run");
            note(core, store, id, reason, known.and_then(|known| known.over)).await?;
            Ok(Ending::Noted)
        }
    }
}

/// Whether the same may succeed later, so that the records may be whole.
fn is_of_the_moment(error: &CoordinatorError) -> bool {
    match error {
        CoordinatorError::Store(error) => !error.is_damage(),
        CoordinatorError::Blob(error) => {
            matches!(error, BlobError::Io { .. } | BlobError::Full { .. })
        }
        _ => false,
    }
}

/// True when it went on.
async fn end(
    core: &Core,
    store: &dyn Store,
    id: &RunId,
    reason: &str,
) -> Result<bool, CoordinatorError> {
    let (mut journal, mut state) = Journal::recover(core, id).await?;
    if !state.is_running() {
        if journal.lags() {
            journal.snapshot_in(core, store, &mut state).await?;
        }
        return Ok(false);
    }
    let event = Event::Failed {
        reason: reason.to_owned(),
    };
    let mut batch = Batch::new();
    journal.put(std::slice::from_ref(&event), &mut batch)?;
    store.commit(batch).await?;
    journal.committed(std::slice::from_ref(&event));
    let effects = state.apply(&event)?;
    journal.snapshot_in(core, store, &mut state).await?;
    for effect in effects {
        if let Effect::Discard(digests) = effect {
            for digest in digests {
                core.vault.delete(&digest).await?;
            }
        }
    }
    Ok(true)
}

/// Puts a note in the place of a run's records. Its blobs are named by nothing then: the next sweep
/// removes them.
async fn note(
    core: &Core,
    store: &dyn Store,
    id: &RunId,
    reason: &str,
    over: Option<OverRun>,
) -> Result<(), CoordinatorError> {
    let said = over.as_ref().and_then(|over| over.message().ok());
    let run = v1::Run {
        reason: reason.to_owned(),
        privacy: core.spent_by(id),
        ..said.unwrap_or_else(|| v1::Run {
            run_id: id.to_string(),
            state: v1::RunState::Failed.into(),
            ..v1::Run::default()
        })
    };
    let delta = over.map_or(DELTA, |over| over.delta);
    RunRecord::note(&run, delta).put(core, store, id).await
}

impl Core {
    /// What the ledger says that a run has spent in training; none when it was never charged.
    pub(super) fn spent_by(&self, id: &RunId) -> Option<v1::PrivacySpend> {
        let accounts = self.ledger.accounts(Some(id.as_str()), |_| DELTA);
        let training = ChargeKind::Training.name();
        let mut own = accounts.into_iter();
        own.find(|account| account.id == id.as_str() && account.kind == training)
            .and_then(|account| account.spend)
    }
}

/// Makes a run durable without a task.
///
/// # Errors
/// When the store refuses.
#[cfg(test)]
pub async fn create_journal(
    core: &Core,
    state: &mut crate::engine::RunState,
) -> Result<(), CoordinatorError> {
    Journal::create(core, state, Batch::new()).await.map(drop)
}
