//! Trying again after failures: ever more seldom, and without flooding the log.

use std::time::Duration;

use tokio::time::Instant;

/// Wait after the first failure; it doubles with each further one.
const FIRST: Duration = Duration::from_millis(200);
/// Longest wait: a disk that has room again is noticed so soon.
const LONGEST: Duration = Duration::from_secs(5);

/// Failures in a row of one thing that is tried again.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// Notes a failure. True when it is worth a line in the log: the first, second, fourth, eighth...
    pub fn failed(&mut self, now: Instant) -> bool {
        self.until = Some(now + self.next_wait());
        self.failures = self.failures.saturating_add(1);
        self.failures.is_power_of_two()
    }

    /// How long to wait after one failure more.
    fn next_wait(&self) -> Duration {
        FIRST
            .saturating_mul(1 << self.failures.min(16))
            .min(LONGEST)
    }

    /// Notes a success; gives the number of failures before it.
    pub fn succeeded(&mut self) -> u32 {
        self.until = None;
        std::mem::take(&mut self.failures)
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// True while it is too early to try again.
    pub fn waits(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// The moment of the next try.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_become_seldom_and_few_of_them_are_logged() {
        let mut backoff = Backoff::default();
        let mut now = Instant::now();
        let begun = now;
        let mut logged = 0;
        for _ in 0..100 {
            logged += usize::from(backoff.failed(now));
            assert!(backoff.waits(now));
            now = backoff.until().unwrap();
            assert!(!backoff.waits(now));
        }
        assert_eq!(logged, 7, "1, 2, 4, 8, 16, 32, 64");
        assert!(now - begun > LONGEST * 90);
        assert_eq!((backoff.succeeded(), backoff.failures()), (100, 0));
        assert!(!backoff.waits(now));
        assert!(backoff.failed(now), "a new row begins");
        assert_eq!(backoff.until(), Some(now + FIRST));
    }
}
