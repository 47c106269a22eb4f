//! Giving up a monitor that is set aside.

use tributary_proto::v1;
use tributary_proto::{MonitorId, RunId};

use super::monitors::Monitors;
use super::record::{End, Header, MonitorRecord};
use super::unstarted::{KIND, shown};
use crate::CoordinatorError;
use crate::core::Core;
use crate::engine::Reject;
use crate::names::run_of;
use crate::run::{RunView, Runs, stored_state};
use tributary_store::Batch;

/// Gives up a monitor that is set aside, and gives back what is reserved for it. One that could not be
/// started, or that crashed, is kept as one that was stopped. The records of one that is damaged stay as
/// they are: what is shown of it. Nothing happens to one that is not set aside.
///
/// # Errors
/// When the store refuses; then it can be repeated.
pub async fn give_up(
    monitors: &Monitors,
    id: &MonitorId,
) -> Result<Option<v1::Monitor>, CoordinatorError> {
    let core = monitors.core();
    let Some(cause) = core.quarantine.cause(KIND, id.as_str()) else {
        return Ok(None);
    };
    let run_id: RunId = run_of(id.as_str()).parse()?;
    let record = match MonitorRecord::find(core, id) {
        Ok(Some(record)) => Ok(record),
        Ok(None) => unstarted(core, id, &run_id).await,
        Err(damage) => Err(damage),
    };
    let damage = match record {
        Ok(record) => {
            keep_stopped(core, record).await?;
            None
        }
        Err(CoordinatorError::Store(error)) if !error.is_damage() => return Err(error.into()),
        Err(damage) => Some(damage),
    };
    end_playbooks(&monitors.runs, &run_id).await?;
    // a crash may come here: `recover` gives back what ended monitors have reserved
    core.ledger.release(run_id.as_str(), None).await?;
    let Some(damage) = damage else {
        core.quarantine.remove(KIND, id.as_str());
        return Ok(None);
    };
    tracing::warn!(monitor = %id, error = %damage, "what is reserved for it is given back");
    let reason = format!(
        "{}; what was reserved for it is given back, and its records stay as they are",
        cause.shown()
    );
    Ok(Some(v1::Monitor {
        reason,
        ..shown(id.as_str(), &cause)
    }))
}

/// What is kept of a monitor that could not be started.
async fn unstarted(
    core: &Core,
    id: &MonitorId,
    run_id: &RunId,
) -> Result<MonitorRecord, CoordinatorError> {
    let spec = stored_state(core, run_id).await?.spec;
    let header = Header {
        note: "it could not be started".to_owned(),
        ..Header::new(id.clone(), run_id.clone(), spec)
    };
    let regions = Vec::new();
    Ok(MonitorRecord { header, regions })
}

async fn keep_stopped(core: &Core, mut record: MonitorRecord) -> Result<(), CoordinatorError> {
    record.header.end = Some(End {
        stopped: true,
        unix_ms: core.clock.now_ms(),
    });
    let mut batch = Batch::new();
    record.put_header(&mut batch)?;
    core.store.commit(batch).await?;
    Ok(())
}

/// Ends the runs that its playbooks have started: they draw on what is given back.
async fn end_playbooks(runs: &Runs, of: &RunId) -> Result<(), CoordinatorError> {
    let begins = format!("{of}/");
    for run in runs.live() {
        if !run.view().run.drift_id.starts_with(&begins) {
            continue;
        }
        match run.stop().await {
            Ok(()) | Err(CoordinatorError::Reject(Reject::RunOver)) => {}
            Err(error) => return Err(error),
        }
        // its task may have ended with it
        let _ = run.follow().wait_for(RunView::is_over).await;
    }
    Ok(())
}
