//! What is left to do when a run is over: what it reserved is given back, and its monitor starts.
//!
//! Both are tried again after a crash and over a full disk. What fails otherwise is set aside: it is named
//! in `monitor ls`, with the run and on `/readyz`, what is reserved for it stays so, and the next start of
//! the coordinator tries again. `tributary monitor stop` gives it up.

use std::sync::Arc;

use tokio::time::Instant;

use super::NO_SPACE;
use super::terms::release_after;
use crate::CoordinatorError;
use crate::backoff::Backoff;
use crate::core::Core;
use crate::engine::{RunState, RunStatus};
use crate::monitor;

/// Gives back what a run reserved that is over, and starts its monitor if its recipe wants one. Where the
/// disk has no room that goes on in a task of its own.
pub async fn start_monitor(core: &Arc<Core>, state: RunState) {
    let Err(error) = try_start(core, &state).await else {
        return;
    };
    if error.is_disk_full() {
        tokio::spawn(start_with_room(core.clone(), state, error));
    } else {
        set_aside(core, &state, &error);
    }
}

async fn try_start(core: &Arc<Core>, state: &RunState) -> Result<(), CoordinatorError> {
    let completed = state.status == RunStatus::Completed;
    release_after(core, &state.id, &state.spec, completed).await?;
    monitor::start(core, state).await
}

/// Tries again, ever more seldom, until there is room.
async fn start_with_room(core: Arc<Core>, state: RunState, mut error: CoordinatorError) {
    let name = format!("monitor {}", crate::names::monitor_of(state.id.as_str()));
    let health = &core.telemetry.health;
    let mut backoff = Backoff::default();
    while error.is_disk_full() {
        if backoff.failed(Instant::now()) {
            tracing::error!(run = %state.id, %error, "its monitor can't start yet");
        }
        health.is_amiss(&name, &format!("{NO_SPACE}: {error}"));
        if let Some(until) = backoff.until() {
            tokio::time::sleep_until(until).await;
        }
        match try_start(&core, &state).await {
            Ok(()) => return health.is_well(&name),
            Err(other) => error = other,
        }
    }
    health.is_well(&name);
    set_aside(&core, &state, &error);
}

fn set_aside(core: &Core, state: &RunState, error: &CoordinatorError) {
    // a halted coordinator says why by itself, and goes on after a start
    if !core.halt.is_halted() {
        let id = crate::names::monitor_of(state.id.as_str());
        core.quarantine.add("monitor", &id, error);
    }
}
