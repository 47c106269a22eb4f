//! The monitors as operators see them.

use tributary_proto::v1;
use tributary_proto::{MonitorId, RunId};

use super::history::Page;
use super::monitors::Monitors;
use super::record::MonitorRecord;
use super::shown::Shown;
use super::unstarted::{all_set_aside, set_aside};
use crate::CoordinatorError;
use crate::names::monitor_of;

/// Monitors that have ended and are listed without being asked for by name.
const ENDED_LISTED: usize = 100;

/// Monitors as operators see them, in the order of their ids: that of a run, or all that are at work or set
/// aside, and those that ended last.
///
/// # Errors
/// When the store can't be read.
pub fn list(
    monitors: &Monitors,
    only_run: Option<&RunId>,
    rows: Option<u32>,
    before: u64,
) -> Result<Vec<v1::Monitor>, CoordinatorError> {
    let core = monitors.core();
    let page = Page::of(rows, before);
    let with_windows = |shown: Shown| shown.with_windows(core, page);
    let Some(run) = only_run else {
        let mut listed = all_set_aside(core);
        for shown in all_shown(monitors)? {
            listed.push(with_windows(shown)?);
        }
        listed.sort_by(|a, b| a.monitor_id.cmp(&b.monitor_id));
        return Ok(listed);
    };
    let id: MonitorId = monitor_of(run.as_str()).parse()?;
    if let Some(monitor) = set_aside(core, &id) {
        return Ok(vec![monitor]);
    }
    find(monitors, &id)?.into_iter().map(with_windows).collect()
}

/// One monitor, at work or as its record has it.
pub(super) fn find(monitors: &Monitors, id: &MonitorId) -> Result<Option<Shown>, CoordinatorError> {
    match monitors.get(id) {
        Some(monitor) => Ok(Some(monitor.shown())),
        None => Ok(MonitorRecord::find(monitors.core(), id)?
            .as_ref()
            .map(Shown::of)),
    }
}

fn all_shown(monitors: &Monitors) -> Result<Vec<Shown>, CoordinatorError> {
    let mut ended: Vec<MonitorRecord> = MonitorRecord::all(monitors.core(), b"")?
        .into_iter()
        // damaged ones are set aside
        .filter_map(|(_, record)| record.ok())
        .filter(|record| record.header.end.is_some())
        .collect();
    ended.sort_by_key(|record| {
        let end = record.header.end.as_ref();
        std::cmp::Reverse(end.map_or(0, |end| end.unix_ms))
    });
    ended.truncate(ENDED_LISTED);
    let mut shown: Vec<Shown> = ended.iter().map(Shown::of).collect();
    // one that ended between the two reads is in both
    for monitor in monitors.all() {
        if !ended.iter().any(|record| record.header.id == monitor.id) {
            shown.push(monitor.shown());
        }
    }
    Ok(shown)
}
