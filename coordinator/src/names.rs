//! How the ids of a run and of its monitor follow from each other.

/// Ends the id of a monitor.
const MONITOR: &str = "-drift";

/// The id of a run's monitor.
pub fn monitor_of(run_id: &str) -> String {
    format!("{run_id}{MONITOR}")
}

/// The run of a monitor's id.
pub fn run_of(monitor_id: &str) -> &str {
    monitor_id.strip_suffix(MONITOR).unwrap_or(monitor_id)
}
