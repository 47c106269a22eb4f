//! Exponential backoff with full jitter (Brooker, "Exponential Backoff And Jitter", 2015).

use std::time::Duration;

use rand_core::Rng;

use crate::state::randomness::uniform_below;

/// How a series of waits grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffLimits {
    /// Upper bound of the first wait.
    pub base: Duration,
    /// Upper bound of any wait.
    pub cap: Duration,
}

impl Default for BackoffLimits {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(200),
            cap: Duration::from_secs(10),
        }
    }
}

/// Counts failures and draws the next wait.
#[derive(Debug, Clone)]
pub struct Backoff {
    limits: BackoffLimits,
    failures: u32,
}

impl Backoff {
    /// A series that has not failed yet.
    pub const fn new(limits: BackoffLimits) -> Self {
        Self {
            limits,
            failures: 0,
        }
    }

    /// Draws the wait after one more failure: uniform in [0, min(cap, base x 2^failures)].
    pub fn next(&mut self, rng: &mut impl Rng) -> Duration {
        let bound = self.bound();
        self.failures = self.failures.saturating_add(1);
        let micros = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(uniform_below(rng, micros.saturating_add(1)))
    }

    /// Starts again after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Upper bound of the next wait.
    pub fn bound(&self) -> Duration {
        let factor = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.limits.base.saturating_mul(factor).min(self.limits.cap)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    proptest! {
        #[test]
        fn every_wait_is_below_its_bound_and_the_cap(seed: [u8; 32], failures in 0usize..80) {
            let limits = BackoffLimits {
                base: Duration::from_millis(100),
                cap: Duration::from_secs(5),
            };
            let mut rng = ChaCha20Rng::from_seed(seed);
            let mut backoff = Backoff::new(limits);
            for _ in 0..failures {
                let bound = backoff.bound();
                prop_assert!(bound <= limits.cap);
                prop_assert!(backoff.next(&mut rng) <= bound);
            }
        }
    }

    #[test]
    fn the_bound_doubles_until_the_cap_and_a_reset_starts_again() {
        let limits = BackoffLimits {
            base: Duration::from_millis(100),
            cap: Duration::from_millis(500),
        };
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let mut backoff = Backoff::new(limits);
        let mut bounds = Vec::new();
        for _ in 0..4 {
            bounds.push(backoff.bound().as_millis());
            backoff.next(&mut rng);
        }
        assert_eq!(bounds, [100, 200, 400, 500]);
        backoff.reset();
        assert_eq!(backoff.bound(), limits.base);
    }

    #[test]
    fn waits_are_spread_over_the_whole_interval() {
        // 1,000 draws, mean of U(0, 100 ms) has sd 0.91 ms: 5 sd, false alarm 6e-7
        let limits = BackoffLimits {
            base: Duration::from_millis(100),
            cap: Duration::from_millis(100),
        };
        let mut rng = ChaCha20Rng::from_seed([2; 32]);
        let mut backoff = Backoff::new(limits);
        let total: Duration = (0..1000).map(|_| backoff.next(&mut rng)).sum();
        let mean = total.as_secs_f64();
        assert!((mean * 1000.0 / 1000.0 - 50.0).abs() < 4.6, "{mean}");
    }
}
