//! How the ids of a run and of its monitor follow from each other.

use tributary_proto::RunId;

use tributary_store::key::Key;
use tributary_store::{Store, StoreError, Table};

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

/// The key of a monitor's own record, a prefix of those of its regions.
pub fn monitor_key(monitor_id: &str) -> Key {
    Key::new().text(monitor_id)
}

/// True when a run's monitor is on disk, at work or over.
///
/// # Errors
/// When the store can't be read.
pub fn has_monitor(store: &dyn Store, run: &RunId) -> Result<bool, StoreError> {
    let key = monitor_key(&monitor_of(run.as_str())).into_bytes();
    Ok(store.get(Table::Monitors, &key)?.is_some())
}
