//! Runs after a restart, or after their task crashed: read back from disk, each for itself.

use std::collections::HashSet;
use std::sync::Arc;

use tributary_model::Digest;
use tributary_proto::RunId;

use super::journal::{Journal, OverRun, RunRecord, run_ids};
use super::parts::assemble;
use super::roll::after_start;
use super::runs::Runs;
use super::start::spawn;
use super::terms::{adopt, is_adopted, set_adopted};
use crate::CoordinatorError;
use crate::core::Core;
use crate::engine::{MarkKey, RunState};
use crate::random::random_bytes;

/// A run that was over before the coordinator started.
pub struct EndedRun {
    /// The run.
    pub id: RunId,
    /// Whether its recipe asks for a monitor; false in records of before builds alone counted.
    pub wants_monitor: bool,
}

/// Goes on with every run that is on disk, and returns those that are over. One that is damaged is set aside.
///
/// # Errors
/// When the store as a whole can't be read.
pub async fn recover_runs(runs: &Arc<Runs>) -> Result<Vec<EndedRun>, CoordinatorError> {
    let core = &runs.core;
    let mut ended = Vec::new();
    let mut recovered = Vec::new();
    let mut named = HashSet::new();
    let mut controls = Vec::new();
    let adopted = is_adopted(core)?;
    for id in run_ids(core)? {
        match load(core, &id, &mut named).await {
            Ok(Loaded::Running(journal, state)) => {
                if let Some(control) = state.control {
                    runs.controls.claim(&id, control).await;
                    controls.push(control);
                }
                recovered.push((id, *journal, *state));
            }
            Ok(Loaded::Over(over)) => {
                if let Some(control) = over.control {
                    runs.controls.claim(&id, control).await;
                    controls.push(control);
                }
                runs.catalogue.over(id.clone(), over.started_ms, over.delta);
                if !adopted && let Err(error) = adopt_over(core, &id).await {
                    tracing::error!(run = %id, %error, "its caps can't be kept");
                }
                let wants_monitor = over.wants_monitor;
                ended.push(EndedRun { id, wants_monitor });
            }
            Err(error) => drop(runs.set_aside(&id, &error)),
        }
    }
    sweep(core, &named, controls).await?;
    for (id, journal, state) in recovered {
        let parts = match assemble(core, &state).await {
            Ok(parts) => parts,
            Err(error) => {
                runs.set_aside(&id, &error);
                continue;
            }
        };
        if !adopted {
            adopt(core, &state, &parts.costs, &parts.bases[0]).await?;
        }
        core.fleet
            .reserve(state.round.leases.keys().cloned().collect());
        tracing::info!(run = %id, round = state.round.number, "run goes on");
        let listening = after_start(core, &state);
        spawn(runs, state, journal, parts, listening);
    }
    set_adopted(core, adopted).await?;
    Ok(ended)
}

/// Keeps what a run promised that was over before there were caps.
async fn adopt_over(core: &Core, id: &RunId) -> Result<(), CoordinatorError> {
    let (_, state) = Journal::recover(core, id).await?;
    let parts = assemble(core, &state).await?;
    adopt(core, &state, &parts.costs, &parts.bases[0]).await
}

/// Removes what a crash between a blob and its record, or between a record and a deletion, left. Not
/// while anything is set aside: nobody knows what that needs.
async fn sweep(
    core: &Core,
    named: &HashSet<Digest>,
    controls: Vec<Digest>,
) -> Result<(), CoordinatorError> {
    let quarantine = &core.quarantine;
    core.registry
        .sweep(controls.into_iter(), quarantine)
        .await?;
    if quarantine.is_empty() {
        let removed = core.vault.keep_only(named).await?;
        tracing::debug!(removed, "swept the vault");
    }
    Ok(())
}

enum Loaded {
    Running(Box<Journal>, Box<RunState>),
    Over(OverRun),
}

/// Reads a run's record, and its state if it goes on.
async fn load(
    core: &Core,
    id: &RunId,
    named: &mut HashSet<Digest>,
) -> Result<Loaded, CoordinatorError> {
    let record = RunRecord::read(core, id)?;
    if record.over.is_some() && !record.marked {
        forget_updates(core, id).await;
    }
    let record = RunRecord::read(core, id)?;
    named.extend(record.blobs());
    if let Some(over) = record.over {
        return Ok(Loaded::Over(over));
    }
    let (mut journal, mut state) = Journal::recover(core, id).await?;
    if state.is_running() {
        if journal.lags() && !core.halt.is_halted() {
            bring_up_to_date(core, &mut journal, &mut state).await;
        }
        named.extend(journal.blobs());
        named.extend(state.server);
        named.extend(state.round.segments.iter().map(|segment| segment.digest));
        return Ok(Loaded::Running(Box::new(journal), Box::new(state)));
    }
    // its last snapshot failed, or is of before records said so
    journal.snapshot(core, &mut state).await?;
    let record = RunRecord::read(core, id)?;
    named.extend(record.blobs());
    Ok(Loaded::Over(
        record
            .over
            .unwrap_or_else(|| OverRun::without_message(&state)),
    ))
}

/// Writes the record of a run again that was over before records held marks alone. One that can't be
/// read or written stays as it is.
async fn forget_updates(core: &Core, id: &RunId) {
    let again = async {
        let (mut journal, mut state) = Journal::recover(core, id).await?;
        journal.snapshot(core, &mut state).await
    };
    if let Err(error) = again.await {
        tracing::warn!(run = %id, %error, "its record still has digests of updates in it");
    }
}

/// Writes a run that goes on anew, when what is on disk holds more of rounds that are over than it
/// should, or has no key for its marks. When that fails, the run goes on as it is.
async fn bring_up_to_date(core: &Core, journal: &mut Journal, state: &mut RunState) {
    let before = state.clone();
    let again = async {
        if state.mark_key.is_none() {
            state.adopt_key(MarkKey::new(random_bytes()?));
        }
        journal.snapshot(core, state).await
    };
    if let Err(error) = again.await {
        tracing::warn!(run = %before.id, %error, "its record can't be written anew");
        // a key that is not on disk must not be used
        *state = before;
    }
}

/// The state of a run as the disk has it.
///
/// # Errors
/// When it is not known, or its records are damaged.
pub async fn stored_state(core: &Core, id: &RunId) -> Result<RunState, CoordinatorError> {
    let (_, state) = Journal::recover(core, id).await?;
    Ok(state)
}

#[cfg(test)]
mod tests;
