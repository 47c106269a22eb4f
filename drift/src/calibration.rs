//! Thresholds that keep a wanted mean number of windows between false alarms.
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
    /// Wanted windows between false alarms of one stream and test, for leaving a warning, a warning and
    /// drift.
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

/// Levels of the two statistics at one interval between false alarms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// For the statistic of a single window.
    pub single: f64,
    /// For the statistic of the EWMA.
    pub ewma: f64,
}

/// Levels at which a stream changes its mind: `exit <= warning <= drift`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// Below both: the stream is calm.
    pub exit: Limits,
    /// At or over either: warning.
    pub warning: Limits,
    /// At or over either: drift.
    pub drift: Limits,
}

impl Thresholds {
    /// Without noise, a window may occupy fewer bins than the EWMA has seen.
    pub(crate) fn with_single(mut self, degrees: u32, intervals: [u32; 3]) -> Self {
        let limits = [&mut self.exit, &mut self.warning, &mut self.drift];
        for (limit, interval) in limits.into_iter().zip(intervals) {
            limit.single = single_window_threshold(degrees, interval);
        }
        self
    }
}

/// Remembers thresholds by key. One per process is enough; nothing is lost when it is dropped.
///
/// A new key costs about 2 million normal draws (some 0.1 s). The rate of false alarms at the threshold
/// is accurate to a few per cent (standard error of the simulation).
#[derive(Debug, Clone, Default)]
pub struct Calibrator {
    cache: BTreeMap<CalibrationKey, Thresholds>,
}

impl Calibrator {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
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

/// Threshold of the single-window statistic: the chi-square value passed once in `interval` windows.
///
/// Windows share the reference, which makes alarms come in clusters; the interval between clusters is
/// therefore a little longer than asked for.
pub fn single_window_threshold(degrees: u32, interval: u32) -> f64 {
    chi_squared_upper(1.0 / f64::from(interval.max(2)), degrees)
}

fn calibrate(key: CalibrationKey) -> Thresholds {
    let law = key.law();
    let excursions = law.simulate();
    let [exit, warning, drift] = key.intervals.map(|interval| Limits {
        single: single_window_threshold(law.degrees, interval),
        ewma: ewma_threshold(&excursions, law, interval),
    });
    Thresholds {
        exit,
        warning,
        drift,
    }
}

/// Bisects between the median of the statistic and the union bound.
fn ewma_threshold(excursions: &Excursions, law: PathLaw, interval: u32) -> f64 {
    let horizon = f64::from(law.horizon);
    let wanted = -(-horizon / f64::from(interval.max(2))).exp_m1();
    let mut low = chi_squared_upper(0.5, law.degrees);
    let mut high = chi_squared_upper(wanted / horizon, law.degrees).max(low);
    for _ in 0..24 {
        let middle = 0.5 * (low + high);
        if excursions.chance(middle, chi_squared_tail(middle, law.degrees)) > wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}
