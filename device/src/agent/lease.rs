//! The time that an order leaves.

use std::time::Duration;

use tokio::time::Instant;

use crate::agent::core::Core;

/// Longest lease or deadline that is believed.
pub(crate) const LONGEST_LEASE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Where time is virtual an answer is worked for so many leases, as long as a coordinator waits for it.
const SEEDED_PATIENCE: u32 = 10;
/// And no less than this beyond the first.
const SEEDED_LEAST: Duration = Duration::from_secs(60);

/// The time that an order leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease {
    /// When the coordinator's word ends.
    pub(crate) ends: Instant,
    /// Until when an answer is worked for. Later than the end where time is virtual: that the machine which
    /// simulates a device is busy is no reason for other bits.
    pub(crate) until: Instant,
}

impl Lease {
    fn new(received: Instant, milliseconds: u64, is_virtual: bool) -> Self {
        let lasts = Duration::from_millis(milliseconds).min(LONGEST_LEASE);
        let more = match is_virtual {
            true => (lasts * (SEEDED_PATIENCE - 1)).max(SEEDED_LEAST),
            false => Duration::ZERO,
        };
        let ends = received + lasts;
        Self {
            ends,
            until: ends + more,
        }
    }

    /// What is left of the coordinator's word.
    pub(crate) fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }
}

impl Core {
    /// The lease of an order that came at `received`, of a plan with this seed.
    pub(crate) fn lease(&self, received: Instant, milliseconds: u64, seed: &[u8]) -> Lease {
        Lease::new(received, milliseconds, self.is_virtual(seed))
    }
}
