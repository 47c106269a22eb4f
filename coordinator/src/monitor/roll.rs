//! Whom a monitor hears after a start of the coordinator, before it asks, charges or releases anything.

use std::time::Duration;

use super::record::{Header, MonitorRecord};
use crate::core::Core;
use crate::epoch::{Roll, RollCall, calibrations_of, quorum};
use tributary_recipe::RunSpec;

/// Whom a monitor hears that is begun before the coordinator serves; nobody when it has nothing to protect.
pub fn after_start(core: &Core, record: &MonitorRecord) -> Option<RollCall> {
    let Header { id, spec, end, .. } = &record.header;
    let is_start = !core.telemetry.is_ready();
    if !is_start || end.is_some() || !protects(spec) {
        return None;
    }
    let population = core.fleet.population(&spec.regions, &spec.task);
    let drift = spec.drift.as_ref();
    let window = drift.map(|drift| u64::from(drift.minimum_devices));
    let window = window.map(|devices| devices.saturating_mul(spec.regions.len() as u64));
    let everybody = population as u64;
    Some(RollCall::new(Roll {
        subjects: vec![id.to_string(), calibrations_of(id.as_str())],
        population,
        quorum: quorum(everybody, window.unwrap_or(everybody)),
        deadline: Duration::from_millis(drift.map_or(0, |drift| drift.deadline_ms)),
        ..Roll::default()
    }))
}

/// Whether any noise of the monitor would be void if it were drawn again.
fn protects(spec: &RunSpec) -> bool {
    let votes = spec.drift.as_ref().map_or(0.0, |drift| drift.noise_votes);
    let ranges = spec.builds.as_ref();
    let ranges = ranges.map_or(0.0, |builds| builds.calibration_noise_votes);
    !spec.is_seeded() && (votes > 0.0 || ranges > 0.0)
}
