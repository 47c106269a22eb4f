//! What all agents of a process share.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::install::library::ModelLibrary;
use crate::state::clock::{Clock, SystemClock};
use crate::state::tally::Tally;
use crate::training::compute::ComputePool;
use crate::transport::connections::Connections;
use crate::transport::timing::Timing;

/// Connections, work pool, models and counters: one for a device, or one for a whole fleet.
#[derive(Debug)]
pub struct Environment {
    /// Connections to the coordinator.
    pub connections: Connections,
    /// Where training and inference run.
    pub compute: ComputePool,
    /// Parsed models, shared by digest.
    pub library: ModelLibrary,
    /// Counters.
    pub tally: Arc<Tally>,
    /// Waits.
    pub timing: Timing,
    /// Time of day, for the pause between two participations.
    pub clock: Arc<dyn Clock>,
    /// Bounds how many agents enrol and check in at the same time.
    pub enrolment: Semaphore,
}

impl Environment {
    /// An environment with default waits, the system's clock, `permits` work threads and 64 enrolments at a time.
    pub fn new(connections: Connections, permits: usize) -> Self {
        Self {
            connections,
            compute: ComputePool::new(permits),
            library: ModelLibrary::default(),
            tally: Arc::default(),
            timing: Timing::default(),
            clock: Arc::new(SystemClock),
            enrolment: Semaphore::new(64),
        }
    }
}
