//! The time of day as an argument, for the pause between two participations.

use std::fmt;

/// Milliseconds since 1970, from wherever the caller says.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Milliseconds since 1970-01-01 00:00 UTC; may go back when the clock is set.
    fn now_ms(&self) -> u64;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    fn now_ms(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map(|elapsed| elapsed.as_millis() as u64).unwrap_or(0)
    }
}
