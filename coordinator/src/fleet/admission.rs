//! How many devices may enrol, per second and in all. What is enrolled already may say so as often as
//! it likes.

use std::time::Duration;

use tokio::time::Instant;

use crate::CoordinatorError;
use crate::limits::Limits;

/// Seconds' worth of enrolments that may come at once.
const BURST_SECONDS: f64 = 10.0;
/// When a device that was too many is to come back, at the earliest.
const RETRY_MS: u64 = 1_000;

/// A token bucket and a count.
#[derive(Debug)]
pub(super) struct Admission {
    most: usize,
    profile_bytes: usize,
    per_second: f64,
    tokens: f64,
    filled: Instant,
}

impl Admission {
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        let per_second = f64::from(limits.enrolments_per_second);
        Self {
            most: limits.devices,
            profile_bytes: limits.profile_bytes,
            per_second,
            tokens: (per_second * BURST_SECONDS).max(1.0),
            filled: now,
        }
    }

    /// Bytes of different profiles and tasks that may be kept.
    pub(super) fn profile_bytes(&self) -> usize {
        self.profile_bytes
    }

    /// Whether a new device may enrol beside `enrolled` others.
    ///
    /// # Errors
    /// [`CoordinatorError::Limit`] when there are enough, [`CoordinatorError::Busy`] when too many
    /// came lately.
    pub(super) fn take(&mut self, enrolled: usize, now: Instant) -> Result<(), CoordinatorError> {
        if enrolled >= self.most {
            return Err(CoordinatorError::Limit {
                what: "the fleet is full",
                limit: self.most as u64,
                remedy: "an operator can raise limits.devices",
            });
        }
        let since = now.saturating_duration_since(self.filled);
        let most = (self.per_second * BURST_SECONDS).max(1.0);
        self.tokens = (self.tokens + since.as_secs_f64() * self.per_second).min(most);
        self.filled = now;
        if self.tokens < 1.0 {
            let missing = (1.0 - self.tokens) / self.per_second.max(1e-3);
            let wait = Duration::try_from_secs_f64(missing).unwrap_or(Duration::MAX);
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            return Err(CoordinatorError::Busy {
                what: "too many devices enrol at the same time",
                retry_after_ms: wait_ms.max(RETRY_MS),
            });
        }
        self.tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enrolments_are_bounded_per_second_and_in_all() {
        let limits = Limits {
            devices: 1_000,
            enrolments_per_second: 5,
            ..Limits::default()
        };
        let begun = Instant::now();
        let mut admission = Admission::new(&limits, begun);
        for enrolled in 0..50 {
            admission.take(enrolled, begun).unwrap();
        }
        let busy = admission.take(50, begun).unwrap_err();
        assert_eq!(busy.code(), "TRB-0220");
        assert!(busy.retry_after_ms() >= RETRY_MS);
        let later = begun + Duration::from_secs(2);
        for enrolled in 50..60 {
            admission.take(enrolled, later).unwrap();
        }
        assert!(admission.take(60, later).is_err(), "ten in two seconds");
        let full = admission.take(1_000, later + Duration::from_secs(60));
        assert_eq!(full.unwrap_err().code(), "TRB-0221");
    }
}
