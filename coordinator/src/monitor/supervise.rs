//! Watching over the task of a monitor: a crash stays in it.
//!
//! What is durable is read from disk again, and the monitor goes on from there; a window that was open is
//! neither charged nor released. One that crashes again and again is set aside: nobody is asked any more,
//! and what is reserved for it stays so until it is stopped.

use tokio::time::Instant;

use super::actor::Actor;
use super::at_work::Monitor;
use super::record::MonitorRecord;
use super::unstarted::KIND;
use crate::CoordinatorError;
use crate::backoff::Backoff;

/// Crashes in a row, without a window in between, before a monitor is set aside.
const MOST_CRASHES: u32 = 8;

/// Runs an actor to the end of its monitor, through crashes.
pub(super) async fn supervise(monitor: Monitor, mut actor: Actor) {
    let mut crashes = Backoff::default();
    let mut windows = monitor.shown().next_window;
    loop {
        match tokio::spawn(actor.run()).await {
            Ok(()) => return,
            // the coordinator stops
            Err(ended) if ended.is_cancelled() => return,
            Err(_) => {}
        }
        let error = CoordinatorError::Crashed("the task of a monitor");
        let now = monitor.shown().next_window;
        if now > windows {
            crashes.succeeded();
        }
        windows = now;
        if crashes.failed(Instant::now()) {
            let failures = crashes.failures();
            tracing::error!(monitor = %monitor.id, %error, failures, "monitor is read from disk again");
        }
        if crashes.failures() > MOST_CRASHES {
            return give_up(&monitor, &error);
        }
        monitor.fails(&error);
        if let Some(until) = crashes.until() {
            tokio::time::sleep_until(until).await;
        }
        actor = match reload(&monitor) {
            Ok(actor) => actor,
            Err(error) => return give_up(&monitor, &error),
        };
    }
}

/// An actor that goes on from what is on disk.
fn reload(monitor: &Monitor) -> Result<Actor, CoordinatorError> {
    let gone = CoordinatorError::Inconsistent("the record of a monitor at work is gone");
    let record = MonitorRecord::find(monitor.core(), &monitor.id)?.ok_or(gone)?;
    Actor::new(monitor.clone(), record)
}

/// Sets the monitor aside: it does not go on before somebody has looked at it.
fn give_up(monitor: &Monitor, error: &CoordinatorError) {
    monitor.goes_on();
    monitor
        .core()
        .quarantine
        .add(KIND, monitor.id.as_str(), error);
    monitor.monitors.remove(&monitor.id);
    // whoever waits for its end finds it set aside
    monitor.over.send_replace(true);
}
