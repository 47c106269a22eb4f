//! Thresholds that keep a wanted mean number of windows between false alarms.
//!
//! One level serves both statistics of a stream, the single window's and the EWMA's: the first catches a
//! large shift at once, the second a small one that stays. An alarm is either passing it, and the level
//! is set for that union, so neither test's share has to be guessed.
//!
//! The interval holds for the first `horizon` windows of a stream, in which the error of the reference
//! and the start of the EWMA weigh most: the chance of a false alarm in them is
//! `1 - exp(-horizon / interval)`. A stream that lives longer than that has survived a reference that was
//! unlucky, so its later rate is lower; the long-run interval is at least the one asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::paths::{Excursions, PathLaw};
use crate::wald::{chi_squared_tail, chi_squared_upper};

/// Most keys a [`Calibrator`] remembers; it starts over beyond that.
const MOST_CACHED: usize = 4096;

/// What thresholds depend on. Everything else (device counts, noise, number of reference windows)
/// enters through the reference ratio or is divided out by the covariance of the statistic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CalibrationKey {
    /// Degrees of freedom of the statistic, 1 to 1024.
    pub degrees: u32,
    /// Variance of the reference over that of a window: `2^(step/2)`; `None` for an exact reference.
    pub reference_step: Option<i8>,
    /// Weight of the newest window in the EWMA, in thousandths, 1 to 1000.
    pub smoothing_milli: u16,
    /// Windows over which the interval is kept.
    pub horizon: u32,
    /// Wanted windows between false alarms of one stream, for leaving a warning, a warning and drift.
    pub intervals: [u32; 3],
}

impl CalibrationKey {
    /// Step of the grid for a ratio of variances, rounded down: a smaller ratio means more independent
    /// windows, so a higher threshold. Ratios under 2^-8 count as an exact reference, those over 2^4 as 2^4.
    pub fn reference_step(ratio: f64) -> Option<i8> {
        let step = (2.0 * ratio.log2()).floor();
        // the clamp leaves -16..=8, or NaN for which the comparison is false
        (step >= -16.0).then(|| step.min(8.0) as i8)
    }

    fn law(&self) -> PathLaw {
        PathLaw {
            degrees: self.degrees.clamp(1, 1024),
            reference_ratio: self
                .reference_step
                .map_or(0.0, |step| (f64::from(step) / 2.0).exp2()),
            smoothing: f64::from(self.smoothing_milli.clamp(1, 1000)) / 1000.0,
            horizon: self.horizon.clamp(1, 1000),
        }
    }
}

/// Levels at which a stream changes its mind: `exit <= warning <= drift`. They hold for the statistic of
/// the single window and for that of the EWMA alike: both are chi-square with the same degrees.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// Both below: the stream is calm.
    pub exit: f64,
    /// Either at or over: warning.
    pub warning: f64,
    /// Either at or over: drift.
    pub drift: f64,
}

/// Remembers thresholds by key. One per process is enough; nothing is lost when it is dropped.
///
/// A new key costs about a million normal draws (under 0.1 s). The standard error of the simulation is
/// some 5 % of the rate of false alarms, 0.1 on the threshold.
#[derive(Debug, Clone, Default)]
pub struct Calibrator {
    cache: BTreeMap<CalibrationKey, Thresholds>,
}

impl Calibrator {
    /// An empty cache.
    pub const fn new() -> Self {
        Self {
            cache: BTreeMap::new(),
        }
    }

    /// Thresholds for a key: simulated once, then remembered. The same key gives the same bits always.
    pub fn thresholds(&mut self, key: CalibrationKey) -> Thresholds {
        if let Some(known) = self.cache.get(&key) {
            return *known;
        }
        let thresholds = calibrate(key);
        if self.cache.len() >= MOST_CACHED {
            self.cache.clear();
        }
        self.cache.insert(key, thresholds);
        thresholds
    }
}

/// The chi-square value that a single window without drift passes once in `interval`.
pub fn single_window_threshold(degrees: u32, interval: u32) -> f64 {
    chi_squared_upper(1.0 / f64::from(interval.max(2)), degrees)
}

fn calibrate(key: CalibrationKey) -> Thresholds {
    let law = key.law();
    let excursions = law.simulate();
    let [exit, warning, drift] = key
        .intervals
        .map(|interval| threshold(&excursions, law, interval));
    Thresholds {
        exit,
        warning,
        drift,
    }
}

/// Bisects between the median of a statistic and the union bound over all of them.
fn threshold(excursions: &Excursions, law: PathLaw, interval: u32) -> f64 {
    let horizon = f64::from(law.horizon);
    let wanted = -(-horizon / f64::from(interval.max(2))).exp_m1();
    let mut low = chi_squared_upper(0.5, law.degrees);
    let mut high = chi_squared_upper(wanted / (2.0 * horizon), law.degrees).max(low);
    for _ in 0..16 {
        let middle = 0.5 * (low + high);
        if excursions.chance(middle, chi_squared_tail(middle, law.degrees)) > wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(degrees: u32, reference_step: Option<i8>) -> CalibrationKey {
        let intervals = [900, 3600, 18_000];
        CalibrationKey {
            degrees,
            reference_step,
            smoothing_milli: 200,
            horizon: 100,
            intervals,
        }
    }

    #[test]
    fn the_same_key_gives_the_same_bits_with_or_without_cache() {
        let mut calibrator = Calibrator::new();
        let first = calibrator.thresholds(key(6, Some(-3)));
        assert_eq!(first, calibrator.thresholds(key(6, Some(-3))));
        assert_eq!(first, Calibrator::new().thresholds(key(6, Some(-3))));
    }

    #[test]
    fn rarer_alarms_and_a_better_reference_need_higher_levels() {
        let mut calibrator = Calibrator::new();
        let mut previous = f64::INFINITY;
        for step in [None, Some(-8), Some(-3), Some(2)] {
            let Thresholds {
                exit,
                warning,
                drift,
            } = calibrator.thresholds(key(8, step));
            assert!(exit < warning && warning < drift);
            assert!(drift < previous, "{step:?}");
            previous = drift;
        }
    }

    #[test]
    fn ratios_are_rounded_down_to_the_grid() {
        let step = CalibrationKey::reference_step;
        assert_eq!(step(1.0), Some(0));
        assert_eq!(step(1.0 / 3.0), Some(-4));
        assert_eq!(step(1e9), Some(8));
        for negligible in [0.0, 1e-9, f64::NAN, -1.0] {
            assert_eq!(step(negligible), None);
        }
    }

    #[test]
    fn absurd_keys_give_finite_levels() {
        for (degrees, smoothing_milli, horizon, interval) in
            [(0, 0, 0, 0), (1, 1000, 1, u32::MAX), (1, 1, 1000, 1)]
        {
            let intervals = [interval; 3];
            let key = CalibrationKey {
                degrees,
                reference_step: None,
                smoothing_milli,
                horizon,
                intervals,
            };
            assert!(Calibrator::new().thresholds(key).drift.is_finite());
        }
    }
}
