//! Time as an argument: the system's clocks, and ones that tests move by hand.
//!
//! Two clocks, for two purposes. The *time of day* stamps what people read; it steps when somebody
//! sets it. The *service time* measures deadlines: it grows as the monotonic clock does while the
//! coordinator runs, stands still while the machine sleeps or the process is down, and never steps.
//! It is kept in the store, so that what was due in three seconds before a restart is due in three
//! seconds after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Milliseconds, from wherever the caller says.
pub trait Clock: Send + Sync + 'static {
    /// Time of day: milliseconds since 1970-01-01 00:00 UTC. Only to be shown; it may step.
    fn now_ms(&self) -> u64;

    /// Service time in milliseconds. Its beginning means nothing; two readings measure what passed
    /// between them.
    fn service_ms(&self) -> u64;

    /// Lets the service time go on from `service_ms`, the last reading of the process before.
    fn resume(&self, service_ms: u64);
}

/// A shared clock.
pub type SharedClock = Arc<dyn Clock>;

/// The operating system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    /// Service time when the process started.
    before: AtomicU64,
}

impl SystemClock {
    /// Clocks whose service time begins at the time of day, as that of folders which have none yet:
    /// their leases were in it.
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            before: AtomicU64::new(time_of_day_ms()),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        time_of_day_ms()
    }

    fn service_ms(&self) -> u64 {
        let passed = self.started.elapsed().as_millis() as u64;
        self.before.load(Ordering::SeqCst).saturating_add(passed)
    }

    fn resume(&self, service_ms: u64) {
        let passed = self.started.elapsed().as_millis() as u64;
        let before = service_ms.saturating_sub(passed);
        self.before.store(before, Ordering::SeqCst);
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one place that reads the time of day"
)]
fn time_of_day_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map(|elapsed| elapsed.as_millis() as u64).unwrap_or(0)
}

/// Clocks that stand still until they are moved.
#[derive(Debug, Default)]
pub struct ManualClock {
    time_of_day: AtomicU64,
    service: AtomicU64,
}

impl ManualClock {
    /// Lets time pass on both clocks.
    pub fn advance_ms(&self, by: u64) {
        self.time_of_day.fetch_add(by, Ordering::SeqCst);
        self.service.fetch_add(by, Ordering::SeqCst);
    }

    /// Sets the time of day, as an operator or a time server does; no time passes.
    pub fn set_time_of_day(&self, unix_ms: u64) {
        self.time_of_day.store(unix_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.time_of_day.load(Ordering::SeqCst)
    }

    fn service_ms(&self) -> u64 {
        self.service.load(Ordering::SeqCst)
    }

    fn resume(&self, service_ms: u64) {
        self.service.store(service_ms, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_time_goes_on_from_where_the_process_before_left_it() {
        let clock = SystemClock::new();
        clock.resume(5_000);
        let first = clock.service_ms();
        assert!((5_000..60_000).contains(&first), "{first}");
        assert!(clock.service_ms() >= first);
        assert!(clock.now_ms() > 1_600_000_000_000);
    }

    #[test]
    fn a_step_of_the_time_of_day_is_no_time_that_passes() {
        let clock = ManualClock::default();
        clock.advance_ms(7);
        clock.set_time_of_day(3_600_000);
        assert_eq!((clock.now_ms(), clock.service_ms()), (3_600_000, 7));
    }
}
