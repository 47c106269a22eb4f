//! What operators see of a monitor.

use tributary_proto::MonitorId;
use tributary_proto::v1;

use super::history::{self, Page};
use super::record::MonitorRecord;
use crate::CoordinatorError;
use crate::core::Core;

/// What is shown of a monitor, and where its windows end.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) monitor: v1::Monitor,
    pub(super) next_window: u64,
    /// What it waits for; empty when it goes on.
    pub(super) waits: String,
}

impl Shown {
    pub(super) fn of(record: &MonitorRecord) -> Self {
        Self {
            monitor: record.view(),
            next_window: record.header.next_window,
            waits: String::new(),
        }
    }

    /// The monitor without its windows.
    pub(super) fn monitor(&self) -> v1::Monitor {
        let mut monitor = self.monitor.clone();
        if !self.waits.is_empty() {
            monitor.reason.clone_from(&self.waits);
        }
        monitor
    }

    pub(super) fn with_windows(
        self,
        core: &Core,
        page: Page,
    ) -> Result<v1::Monitor, CoordinatorError> {
        let id: MonitorId = self.monitor.monitor_id.parse()?;
        let (windows, earlier_windows) = history::read(core, &id, self.next_window, page)?;
        Ok(v1::Monitor {
            windows,
            earlier_windows,
            ..self.monitor()
        })
    }
}
