//! A monitor at work: its handle with what it works on.

use std::sync::Arc;

use super::handle::MonitorHandle;
use super::monitors::Monitors;
use crate::core::Core;

/// A monitor at work. [`Monitors`] keeps handles alone, so that it does not keep itself alive.
#[derive(Clone)]
pub(super) struct Monitor {
    pub(super) monitors: Arc<Monitors>,
    pub(super) handle: MonitorHandle,
}

impl Monitor {
    /// What all parts of the coordinator share.
    pub(super) fn core(&self) -> &Arc<Core> {
        self.monitors.core()
    }
}

impl std::ops::Deref for Monitor {
    type Target = MonitorHandle;

    fn deref(&self) -> &MonitorHandle {
        &self.handle
    }
}
