//! What of an actor outlives a crash of its task: the ends of its channels, and which devices it
//! holds.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};
use tributary_proto::DeviceId;

use crate::CoordinatorError;
use crate::core::Core;
use crate::engine::{Lease, RunState};
use crate::epoch::RollCall;
use crate::run::{Command, RunView};

/// How an actor ended.
pub enum End {
    /// The run is over.
    Over(Box<RunState>),
    /// The coordinator stops.
    Stopping,
    /// What is in memory can't be relied on: the disk has the last word.
    Reload {
        /// Why.
        error: CoordinatorError,
        /// Devices whose updates were being added.
        suspects: Vec<DeviceId>,
    },
}

/// The ends of a run's channels, and the devices that it has reserved. Clones share them.
#[derive(Clone)]
pub struct Ends {
    /// What others ask of the run.
    pub commands: Arc<tokio::sync::Mutex<mpsc::Receiver<Command>>>,
    /// What others see of it.
    pub view: Arc<watch::Sender<RunView>>,
    held: Arc<Mutex<HashSet<DeviceId>>>,
    listening: Arc<Mutex<Option<RollCall>>>,
}

impl Ends {
    /// Of a run that holds these devices and hears those of `listening` before it goes on.
    pub fn new(
        commands: mpsc::Receiver<Command>,
        view: watch::Sender<RunView>,
        held: impl IntoIterator<Item = DeviceId>,
        listening: Option<RollCall>,
    ) -> Self {
        Self {
            commands: Arc::new(tokio::sync::Mutex::new(commands)),
            view: Arc::new(view),
            held: Arc::new(Mutex::new(held.into_iter().collect())),
            listening: Arc::new(Mutex::new(listening)),
        }
    }

    /// Who is heard after a start of the coordinator, until that is over. A crash of the task is no start,
    /// and no end of it.
    pub fn listening(&self) -> MutexGuard<'_, Option<RollCall>> {
        self.listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, HashSet<DeviceId>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rounds and attempts that are over.
    pub fn ended_rounds(&self) -> usize {
        self.view.borrow().history.len()
    }

    /// Reserves devices for the run; gives those that were free.
    pub fn reserve(&self, core: &Core, devices: Vec<DeviceId>) -> Vec<DeviceId> {
        // noted first: a crash in between must not leave one reserved that nobody knows of
        let mut held = self.held();
        let reserved = core.fleet.reserve(devices);
        held.extend(reserved.iter().cloned());
        reserved
    }

    /// Gives devices back.
    pub fn release<'a>(&self, core: &Core, devices: impl IntoIterator<Item = &'a DeviceId>) {
        let mut held = self.held();
        let devices: Vec<&DeviceId> = devices.into_iter().filter(|id| held.remove(*id)).collect();
        core.fleet.release(devices);
    }

    /// Gives all devices back.
    pub fn release_all(&self, core: &Core) {
        self.keep_only(core, &BTreeMap::new());
    }

    /// Gives all devices back but those with a lease.
    pub fn keep_only(&self, core: &Core, leases: &BTreeMap<DeviceId, Lease>) {
        let mut held = self.held();
        let (kept, free): (HashSet<_>, HashSet<_>) =
            held.drain().partition(|device| leases.contains_key(device));
        *held = kept;
        core.fleet.release(&free);
    }
}

/// Why the actor before this one ended.
pub struct Mishap {
    /// What happened, for the round's record.
    pub reason: String,
    /// Devices whose updates were being added: another attempt does better without them.
    pub suspects: Vec<DeviceId>,
    /// How often in a row.
    pub crashes: u32,
}
