//! Ending a run that no task owns.

use tributary_proto::RunId;

use super::journal::Journal;
use crate::CoordinatorError;
use crate::core::Core;
use crate::engine::{Effect, Event};
use crate::store::Batch;

/// Ends a run for good, if it goes on, and deletes its sums and its noise; true when it went on. For a
/// folder that nobody serves.
///
/// # Errors
/// When its records are damaged, or a store refuses.
pub async fn end_run(core: &Core, id: &RunId, reason: &str) -> Result<bool, CoordinatorError> {
    let (mut journal, mut state) = Journal::recover(core, id).await?;
    let store = &*core.unguarded;
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
