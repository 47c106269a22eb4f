//! The windows that are kept, and reading them page by page.

use tributary_proto::MonitorId;
use tributary_proto::v1::DriftWindow;

use super::record::{WindowRecord, row_key};
use crate::CoordinatorError;
use crate::core::Core;
use tributary_store::key::{Key, KeyReader};
use tributary_store::{Batch, Expect, Table};

/// Rows (windows times regions) that are kept of a monitor.
const KEPT_ROWS: u64 = 10_000;
/// Windows that are kept however many regions there are.
const KEPT_WINDOWS: u64 = 100;
/// Rows of a page when nothing is asked for, and the most that may be.
const PAGE: (u32, u32) = (1_000, 5_000);
/// Rows that one batch deletes.
const DELETED: usize = 4_000;
/// Rows that one read takes in.
const READ: usize = 256;

/// Windows that are kept of a monitor of so many regions.
pub fn kept_windows(regions: usize) -> u64 {
    (KEPT_ROWS / (regions as u64).max(1)).max(KEPT_WINDOWS)
}

/// Adds the deletion of the windows that `window` pushes out.
pub fn push_out(id: &MonitorId, window: u64, regions: usize, batch: &mut Batch) {
    let Some(old) = window.checked_sub(kept_windows(regions)) else {
        return;
    };
    for index in 0..regions {
        batch.delete(Table::DriftWindows, row_key(id, old, index), Expect::Any);
    }
}

/// Deletes every window that is older than what is kept, however many there are.
///
/// # Errors
/// When the store refuses.
pub async fn trim(
    core: &Core,
    id: &MonitorId,
    next_window: u64,
    regions: usize,
) -> Result<(), CoordinatorError> {
    let oldest = next_window.saturating_sub(kept_windows(regions));
    let prefix = Key::new().text(id.as_str()).into_bytes();
    loop {
        let mut batch = Batch::new();
        let rows = core
            .store
            .scan(Table::DriftWindows, &prefix, None, DELETED)?;
        for (key, _) in &rows {
            if number_of(key).is_some_and(|number| number < oldest) {
                batch.delete(Table::DriftWindows, key.clone(), Expect::Any);
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        core.store.commit(batch).await?;
    }
}

/// Which windows of a monitor are read.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Rows at most.
    pub rows: usize,
    /// Only windows before this one.
    pub before: u64,
}

impl Page {
    /// The page that a request asks for.
    pub fn of(rows: Option<u32>, before: u64) -> Self {
        Self {
            rows: rows.unwrap_or(PAGE.0).min(PAGE.1) as usize,
            before: if before == 0 { u64::MAX } else { before },
        }
    }
}

/// The newest rows of a page, oldest first, and whether there are older ones.
///
/// # Errors
/// When the store can't be read.
pub fn read(
    core: &Core,
    id: &MonitorId,
    next_window: u64,
    page: Page,
) -> Result<(Vec<DriftWindow>, bool), CoordinatorError> {
    let end = page.before.min(next_window);
    if page.rows == 0 || end <= 1 {
        return Ok((Vec::new(), end > 1));
    }
    let mut span = page.rows as u64;
    loop {
        let from = end.saturating_sub(span).max(1);
        let mut rows = rows_between(core, id, from, end)?;
        let enough = rows.len() > page.rows;
        if !enough && from > 1 {
            span = span.saturating_mul(4);
            continue;
        }
        let cut = whole_windows(&rows, page.rows);
        let is_cut = cut > 0;
        return Ok((rows.split_off(cut), is_cut));
    }
}

/// Where the newest `most` rows begin, so that no window is split; one window is always given.
fn whole_windows(rows: &[DriftWindow], most: usize) -> usize {
    let mut cut = rows.len().saturating_sub(most);
    while cut > 0 && cut < rows.len() && rows[cut - 1].window == rows[cut].window {
        cut += 1;
    }
    if cut < rows.len() {
        return cut;
    }
    let last = rows.last().map(|row| row.window);
    let first = rows.iter().position(|row| Some(row.window) == last);
    first.unwrap_or(0)
}

fn rows_between(
    core: &Core,
    id: &MonitorId,
    from: u64,
    end: u64,
) -> Result<Vec<DriftWindow>, CoordinatorError> {
    let prefix = Key::new().text(id.as_str()).into_bytes();
    // a window's own key sorts before the keys of its regions
    let mut after = Key::new().text(id.as_str()).number(from).into_bytes();
    let mut windows = Vec::new();
    loop {
        let rows = core
            .store
            .scan(Table::DriftWindows, &prefix, Some(&after), READ)?;
        for (key, record) in &rows {
            if number_of(key).is_none_or(|number| number >= end) {
                return Ok(windows);
            }
            match record.json::<WindowRecord>() {
                Ok(window) => windows.push(window.wire(id.as_str())),
                // the others, and other monitors, are shown
                Err(error) => note_damaged(core, id, key, error.into()),
            }
        }
        match rows.into_iter().last() {
            Some((key, _)) => after = key,
            None => return Ok(windows),
        }
    }
}

/// Names a window whose record can't be read.
fn note_damaged(core: &Core, id: &MonitorId, key: &[u8], error: CoordinatorError) {
    let window = number_of(key).unwrap_or(0);
    core.quarantine
        .add("window", &format!("{id}/{window}"), &error);
}

fn number_of(key: &[u8]) -> Option<u64> {
    let mut parts = KeyReader::new(key);
    parts.text()?;
    parts.number()
}
