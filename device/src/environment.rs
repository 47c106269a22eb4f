//! What all agents of a process share.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::backoff::BackoffLimits;
use crate::clock::{Clock, SystemClock};
use crate::compute::ComputePool;
use crate::connections::Connections;
use crate::library::ModelLibrary;
use crate::tally::Tally;

/// How long an agent waits for what.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Waits between failed calls.
    pub backoff: BackoffLimits,
    /// Longest wait for an answer to a call or an upload's header.
    pub answer: Duration,
    /// Longest wait for a receipt after the last byte.
    pub receipt: Duration,
    /// A session that lasted this long starts the backoff again.
    pub stable: Duration,
    /// How long an agent that stops waits for its stream to end.
    pub farewell: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            backoff: BackoffLimits::default(),
            answer: Duration::from_secs(30),
            receipt: Duration::from_secs(60),
            stable: Duration::from_secs(5),
            farewell: Duration::from_secs(1),
        }
    }
}

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
