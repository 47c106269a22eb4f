//! What is left to do when a run is over: what it reserved is given back, and its monitor starts.
//!
//! Both are tried again after a crash and over a full disk. What fails otherwise is set aside: it is named
//! in `monitor ls`, with the run and on `/readyz`, what is reserved for it stays so, and the next start of
//! the coordinator tries again. `tributary monitor stop` gives it up.

use std::sync::Arc;

use tokio::time::Instant;

use super::launch::start;
use super::monitors::Monitors;
use crate::CoordinatorError;
use crate::backoff::Backoff;
use crate::core::Core;
use crate::engine::{RunState, RunStatus};
use crate::run::{EndedRuns, NO_SPACE, release_after};

/// Goes on from every run that ends, one after the other, until the coordinator stops.
pub async fn follow(monitors: Arc<Monitors>, mut ended: EndedRuns) {
    let stopping = monitors.core().stopping.clone();
    loop {
        tokio::select! {
            ended = ended.recv() => match ended {
                Some(state) => start_monitor(&monitors, state).await,
                None => return,
            },
            () = stopping.cancelled() => return,
        }
    }
}

/// Gives back what a run reserved that is over, and starts its monitor if its recipe wants one. Where the
/// disk has no room that goes on in a task of its own.
pub async fn start_monitor(monitors: &Arc<Monitors>, state: RunState) {
    let Err(error) = try_start(monitors, &state).await else {
        return;
    };
    if error.is_disk_full() {
        tokio::spawn(start_with_room(monitors.clone(), state, error));
    } else {
        set_aside(monitors.core(), &state, &error);
    }
}

async fn try_start(monitors: &Arc<Monitors>, state: &RunState) -> Result<(), CoordinatorError> {
    let completed = state.status == RunStatus::Completed;
    release_after(monitors.core(), &state.id, &state.spec, completed).await?;
    start(monitors, state).await
}

/// Tries again, ever more seldom, until there is room.
async fn start_with_room(monitors: Arc<Monitors>, state: RunState, mut error: CoordinatorError) {
    let name = format!("monitor {}", crate::names::monitor_of(state.id.as_str()));
    let health = &monitors.core().telemetry.health;
    let mut backoff = Backoff::default();
    while error.is_disk_full() {
        if backoff.failed(Instant::now()) {
            tracing::error!(run = %state.id, %error, "its monitor can't start yet");
        }
        health.is_amiss(&name, &format!("{NO_SPACE}: {error}"));
        if let Some(until) = backoff.until() {
            tokio::time::sleep_until(until).await;
        }
        match try_start(&monitors, &state).await {
            Ok(()) => return health.is_well(&name),
            Err(other) => error = other,
        }
    }
    health.is_well(&name);
    set_aside(monitors.core(), &state, &error);
}

fn set_aside(core: &Core, state: &RunState, error: &CoordinatorError) {
    // a halted coordinator says why by itself, and goes on after a start
    if !core.halt.is_halted() {
        let id = crate::names::monitor_of(state.id.as_str());
        core.quarantine.add("monitor", &id, error);
    }
}
