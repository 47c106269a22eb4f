//! Monitors after a start of the coordinator.

use std::sync::Arc;

use super::after_run::start_monitor;
use super::launch::launch;
use super::monitors::Monitors;
use super::record::MonitorRecord;
use crate::CoordinatorError;
use crate::names::{has_monitor, run_of};
use crate::run::{EndedRun, stored_state};

/// Goes on with every monitor on disk that has not ended, and starts those that runs which were over already
/// have not got yet. One that is damaged is set aside.
///
/// # Errors
/// When the store as a whole can't be read.
pub async fn recover(
    monitors: &Arc<Monitors>,
    over: Vec<EndedRun>,
) -> Result<(), CoordinatorError> {
    let core = monitors.core();
    for run in over {
        go_on_from(monitors, &run).await?;
    }
    for (id, record) in MonitorRecord::all(core, b"")? {
        if record
            .as_ref()
            .is_ok_and(|record| record.header.end.is_some())
        {
            // a crash may have come between the end and this
            core.ledger.release(run_of(&id), None).await?;
        }
        let launched = record.and_then(|record| match record.header.end {
            None => launch(monitors, record),
            Some(_) => Ok(()),
        });
        if let Err(error) = launched {
            core.quarantine.add("monitor", &id, &error);
        }
    }
    Ok(())
}

/// A run that completed just before the coordinator ended, or whose monitor could not start, has none yet.
async fn go_on_from(monitors: &Arc<Monitors>, run: &EndedRun) -> Result<(), CoordinatorError> {
    let core = monitors.core();
    let exists = has_monitor(&*core.store, &run.id);
    if !run.wants_monitor {
        // records of before builds alone counted don't say that they want one
        if !exists? {
            core.ledger.release(run.id.as_str(), None).await?;
        }
        return Ok(());
    }
    if exists.is_ok_and(|exists| exists) {
        return Ok(());
    }
    match stored_state(core, &run.id).await {
        Ok(state) => start_monitor(monitors, state).await,
        Err(error) => drop(monitors.runs.set_aside(&run.id, &error)),
    }
    Ok(())
}
