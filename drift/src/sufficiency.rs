//! How many devices a window needs, from what is public or released: settings, noise and the reference.
//!
//! A window's own votes say nothing here, so that the question can be answered before devices are
//! asked, and again before noise is drawn, without telling anything of the data.

use crate::calibration::{CalibrationKey, Calibrator};
use crate::config::MonitorConfig;
use crate::effect::noncentrality;
use crate::histogram::Histogram;
use crate::wald::pooled_shares;

/// More devices than any window has; a need above it is none that can be met.
const MOST: u64 = 100_000_000;

/// What the windows of a stream are compared with.
pub(crate) enum Against<'a> {
    /// A complete reference.
    Reference(&'a Histogram),
    /// A reference in the making: so many windows like the one that is planned, of so many bins with
    /// equal shares. Unequal shares need more devices, never fewer.
    Planned { bins: usize, windows: u32 },
}

impl Against<'_> {
    /// Smallest PSI that a window of `devices` with noise of this variance per bin shows with a
    /// probability of about 0.8 at this threshold of its statistic; infinite when none is visible.
    pub(crate) fn visible_psi(&self, devices: u64, noise_variance: f64, threshold: f64) -> f64 {
        let n = devices as f64;
        let (shares, m, noise) = match self {
            Self::Reference(reference) => {
                let m = reference.devices() as f64;
                if m < 1.0 {
                    return f64::INFINITY;
                }
                let raw = reference.counts().iter().map(|&count| count as f64 / m);
                (
                    pooled_shares(raw.collect(), m),
                    m,
                    reference.noise_variance(),
                )
            }
            Self::Planned { bins, windows } => {
                let windows = f64::from(*windows);
                let shares = vec![1.0 / *bins as f64; *bins];
                (shares, n * windows, noise_variance * windows)
            }
        };
        if n < 1.0 || m < 1.0 {
            return f64::INFINITY;
        }
        let sampling = 1.0 / n + 1.0 / m;
        let noise = noise_variance / (n * n) + noise / (m * m);
        let information = |share: &f64| 1.0 / (sampling + noise / share);
        let information = shares.iter().map(information).sum::<f64>() / shares.len() as f64;
        noncentrality(threshold, f64::from(self.degrees(noise > 0.0))) / information
    }

    /// Degrees of freedom of the statistic.
    fn degrees(&self, noised: bool) -> u32 {
        let degrees = match self {
            Self::Planned { bins, .. } => bins - 1,
            Self::Reference(reference) if noised => {
                reference.counts().len() - usize::from(reference.devices_estimated())
            }
            Self::Reference(reference) => {
                let occupied = reference.counts().iter().filter(|&&count| count > 0);
                occupied.count().saturating_sub(1)
            }
        };
        // a quantity has at most MAX_BINS bins, so this can't truncate
        degrees.max(1) as u32
    }

    /// Fewest devices of a window in which a shift of [`MonitorConfig::max_invisible_psi`] is seen;
    /// `None` when no number does.
    pub(crate) fn devices_needed(
        &self,
        noise_variance: f64,
        config: &MonitorConfig,
        intervals: [u32; 3],
        calibrator: &mut Calibrator,
    ) -> Option<u64> {
        let thresholds = calibrator.thresholds(CalibrationKey {
            degrees: self.degrees(noise_variance > 0.0),
            // the highest threshold of all, so that the number does for every state of the reference
            reference_step: None,
            smoothing_milli: (config.smoothing * 1000.0).round() as u16,
            horizon: config.horizon,
            intervals,
        });
        let least = config.min_devices.max(1);
        let does = |devices| {
            let visible = self.visible_psi(devices, noise_variance, thresholds.drift);
            visible <= config.max_invisible_psi
        };
        if !does(MOST) {
            return None;
        }
        let (mut low, mut high) = (least - 1, MOST.max(least));
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if does(middle) {
                high = middle;
            } else {
                low = middle;
            }
        }
        Some(high)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quantity::Quantity;

    fn needed(against: &Against<'_>, variance: f64, psi: f64) -> Option<u64> {
        let config = MonitorConfig {
            max_invisible_psi: psi,
            min_devices: 1,
            ..MonitorConfig::default()
        };
        let intervals = [900, 3600, 18_000];
        against.devices_needed(variance, &config, intervals, &mut Calibrator::new())
    }

    const PLANNED: Against<'static> = Against::Planned {
        bins: 8,
        windows: 4,
    };

    #[test]
    fn more_noise_and_smaller_shifts_need_more_devices() {
        let exact = needed(&PLANNED, 0.0, 1.0).unwrap();
        let noised = needed(&PLANNED, 400.0, 1.0).unwrap();
        let finer = needed(&PLANNED, 400.0, 0.25).unwrap();
        assert!(exact < noised && noised < finer, "{exact} {noised} {finer}");
        assert!((30..80).contains(&exact), "{exact}");
    }

    #[test]
    fn a_reference_that_is_mostly_noise_can_not_be_made_up_for_by_devices() {
        let quantity = Quantity::prediction("p", 7).unwrap();
        let counts = vec![10, 5, 4, 3, 6, 8, 4, 0];
        let poor = Histogram::with_private_devices(&quantity, counts, 4.0 * 400.0).unwrap();
        assert_eq!(needed(&Against::Reference(&poor), 400.0, 1.0), None);
        let counts = vec![1000, 500, 400, 300, 600, 800, 400, 0];
        let good = Histogram::with_private_devices(&quantity, counts, 4.0 * 400.0).unwrap();
        assert!(needed(&Against::Reference(&good), 400.0, 1.0).is_some());
    }

    #[test]
    fn a_reference_without_devices_compares_with_nothing() {
        let quantity = Quantity::prediction("p", 2).unwrap();
        let nobody = Histogram::with_private_devices(&quantity, vec![-3, 1, 1], 4.0).unwrap();
        let against = Against::Reference(&nobody);
        assert_eq!(against.visible_psi(1_000, 4.0, 20.0), f64::INFINITY);
        assert_eq!(needed(&against, 4.0, 1.0), None);
    }

    proptest! {
        #[test]
        fn the_number_is_the_smallest_that_does(
            variance in prop::sample::select(vec![0.0, 0.25, 9.0, 400.0]),
            psi in 0.05_f64..2.0,
            windows in 1_u32..20,
        ) {
            let against = Against::Planned { bins: 6, windows };
            let found = needed(&against, variance, psi).unwrap();
            let intervals = [900, 3600, 18_000];
            let threshold = Calibrator::new().thresholds(CalibrationKey {
                degrees: 5,
                reference_step: None,
                smoothing_milli: 200,
                horizon: 100,
                intervals,
            });
            prop_assert!(against.visible_psi(found, variance, threshold.drift) <= psi);
            prop_assert!(against.visible_psi(found - 1, variance, threshold.drift) > psi);
        }
    }
}
