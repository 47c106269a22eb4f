//! The monitors of a coordinator.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tributary_proto::MonitorId;

use super::handle::MonitorHandle;
use crate::core::Core;
use crate::run::Runs;

/// The monitors at work, over the runs that their playbooks start.
pub struct Monitors {
    /// The runs.
    pub runs: Arc<Runs>,
    at_work: Mutex<BTreeMap<MonitorId, MonitorHandle>>,
}

impl Monitors {
    /// No monitor yet.
    pub fn new(runs: Arc<Runs>) -> Arc<Self> {
        Arc::new(Self {
            runs,
            at_work: Mutex::default(),
        })
    }

    /// What all parts of the coordinator share.
    pub fn core(&self) -> &Arc<Core> {
        &self.runs.core
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<MonitorId, MonitorHandle>> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The monitors at work.
    pub fn all(&self) -> Vec<MonitorHandle> {
        self.lock().values().cloned().collect()
    }

    /// One monitor at work.
    pub fn get(&self, id: &MonitorId) -> Option<MonitorHandle> {
        self.lock().get(id).cloned()
    }

    /// Adds a monitor unless it is there; true when it was added.
    pub(super) fn add(&self, id: MonitorId, handle: MonitorHandle) -> bool {
        match self.lock().entry(id) {
            Entry::Vacant(vacant) => {
                vacant.insert(handle);
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    /// Forgets a monitor that has ended; its record stays on disk.
    pub(super) fn remove(&self, id: &MonitorId) {
        self.lock().remove(id);
    }
}
