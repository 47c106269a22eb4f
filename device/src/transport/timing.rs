//! How long an agent waits for what.

use std::time::Duration;

use crate::transport::backoff::BackoffLimits;

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
