//! Starting monitors: of runs that complete, and those that are on disk.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tributary_model::{Digest, Personalisation};
use tributary_proto::MonitorId;

use super::actor::Actor;
use super::at_work::Monitor;
use super::handle::MonitorHandle;
use super::monitors::Monitors;
use super::record::MonitorRecord;
use super::roll;
use super::shown::Shown;
use super::supervise::supervise;
use crate::CoordinatorError;
use crate::engine::{RunState, RunStatus};
use crate::names::{has_monitor, monitor_of};

/// Starts the monitor of a completed run, if its recipe wants one and it does not exist yet.
///
/// # Errors
/// When the recipe's quantities are wrong or the store refuses.
pub async fn start(monitors: &Arc<Monitors>, run: &RunState) -> Result<(), CoordinatorError> {
    let core = monitors.core();
    let id: MonitorId = monitor_of(run.id.as_str()).parse()?;
    let wanted = run.spec.is_monitored() && run.status == RunStatus::Completed;
    // one that is on disk is started by `recover`, with the windows that it has judged
    if !wanted || has_monitor(&*core.store, &run.id)? {
        return Ok(());
    }
    let heads = matches!(
        run.spec.training.personalisation,
        Some(Personalisation::RegionHeads { .. })
    );
    // each region watches the model that its devices use
    let own: &[Digest] = if heads { &run.variants } else { &[] };
    let record = MonitorRecord::new(core, id, run, run.model, own).await?;
    launch(monitors, record)
}

/// Starts the task of a monitor, unless it is at work.
///
/// # Errors
/// When what its recipe asks for can't be represented.
pub(super) fn launch(
    monitors: &Arc<Monitors>,
    record: MonitorRecord,
) -> Result<(), CoordinatorError> {
    let roll_call = roll::after_start(monitors.core(), &record);
    let roll_call = roll_call.map(|call| (record.header.spec.clone(), call));
    let handle = MonitorHandle {
        id: record.header.id.clone(),
        polls: Arc::default(),
        installs: Arc::default(),
        view: Arc::new(Mutex::new(Shown::of(&record))),
        stop: CancellationToken::new(),
        over: watch::Sender::new(false),
        listening: Arc::new(Mutex::new(roll_call)),
    };
    let monitor = Monitor {
        monitors: monitors.clone(),
        handle: handle.clone(),
    };
    // first: what can't be begun must not be known as one that is at work
    let actor = Actor::new(monitor.clone(), record)?;
    if monitors.add(handle.id.clone(), handle) {
        tokio::spawn(supervise(monitor, actor));
    }
    Ok(())
}
