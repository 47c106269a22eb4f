//! Ending a monitor.

use tributary_proto::MonitorId;
use tributary_proto::v1;

use super::give_up::give_up;
use super::list::find;
use super::monitors::Monitors;
use crate::CoordinatorError;
use crate::names::{monitor_of, run_of};

/// Ends a monitor, named by its id or its run's; answers when its end is on disk.
///
/// # Errors
/// When it is not known, or the coordinator stops meanwhile.
pub async fn stop(monitors: &Monitors, name: &str) -> Result<v1::Monitor, CoordinatorError> {
    let named: MonitorId = name.parse()?;
    let of_run: MonitorId = monitor_of(run_of(name)).parse()?;
    for id in [&named, &of_run] {
        if let Some(monitor) = monitors.get(id) {
            monitor.end().await?;
        }
        if let Some(set_aside) = give_up(monitors, id).await? {
            return Ok(set_aside);
        }
        if let Some(shown) = find(monitors, id)? {
            return Ok(shown.monitor());
        }
    }
    Err(CoordinatorError::unknown(
        "monitor",
        name,
        "see `tributary monitor ls` for the ids",
    ))
}
