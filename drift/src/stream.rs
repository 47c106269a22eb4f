//! One quantity of one region: its reference, its memory and what a window says about it.

use serde::{Deserialize, Serialize};

use crate::calibration::{CalibrationKey, Calibrator, Thresholds};
use crate::config::MonitorConfig;
use crate::effect::{Effect, effect};
use crate::error::DriftError;
use crate::ewma::Ewma;
use crate::histogram::Histogram;
use crate::quantity::{Quantity, Role};
use crate::sufficiency::Against;
use crate::verdict::ReferenceVersion;
use crate::wald::{Contrast, Wald, wald};

/// How far the larger of a stream's two statistics has risen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Under the exit threshold.
    Calm,
    /// At or over the exit threshold.
    Raised,
    /// At or over the warning threshold.
    Warning,
    /// At or over the drift threshold.
    Drift,
}

/// A window compared with the reference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TestResult {
    /// Single-window statistic and its p-value.
    pub single: Wald,
    /// Statistic of the EWMA; its p-value holds for this window alone, not for the sequence.
    pub ewma: Wald,
    /// Thresholds at this window; they hold for both statistics.
    pub thresholds: Thresholds,
    /// Size of the shift of the single window.
    pub effect: Effect,
    /// PSI that a window of as many answers shows with probability 0.8, from the reference alone.
    pub minimal_psi: f64,
    /// What the thresholds say.
    pub level: Level,
}

impl TestResult {
    /// The larger of the two statistics: the one to plot against the thresholds.
    pub fn statistic(&self) -> f64 {
        self.single.statistic.max(self.ewma.statistic)
    }
}

/// What one window says about one quantity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Name of the quantity.
    pub quantity: String,
    /// What its shift means.
    pub role: Role,
    /// Devices that voted, or their estimate; 0 if the window had no histogram of it.
    pub devices: u64,
    /// Standard deviation of the noise per count.
    pub noise_sigma: f64,
    /// Reference it was compared with.
    pub reference: ReferenceVersion,
    /// The comparison; `None` while the reference is built, or without devices.
    pub test: Option<TestResult>,
    /// Whether there was enough data to count this window.
    pub sufficient: bool,
}

/// A reference in the making or ready.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Reference {
    version: ReferenceVersion,
    sum: Histogram,
    windows: u32,
}

impl Reference {
    fn new(quantity: &Quantity, version: ReferenceVersion) -> Self {
        Self {
            version,
            sum: Histogram::empty(quantity),
            windows: 0,
        }
    }

    fn ready(&self, config: &MonitorConfig) -> bool {
        self.windows >= config.warm_up_windows
    }

    fn absorb(&mut self, window: &Histogram) -> Result<(), DriftError> {
        self.sum.merge(window)?;
        self.windows = self.windows.saturating_add(1);
        Ok(())
    }
}

/// Monitor of one quantity in one region. Its state is the reference, a candidate for the next one and
/// the EWMA: three vectors of `bins` numbers, however long it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamMonitor {
    quantity: Quantity,
    reference: Reference,
    candidate: Option<Reference>,
    ewma: Ewma,
}

impl StreamMonitor {
    /// A monitor without reference.
    pub fn new(quantity: Quantity) -> Self {
        let reference = Reference::new(&quantity, ReferenceVersion(1));
        let ewma = Ewma::new(quantity.bins());
        Self {
            quantity,
            reference,
            candidate: None,
            ewma,
        }
    }

    /// The quantity monitored.
    pub fn quantity(&self) -> &Quantity {
        &self.quantity
    }

    /// Version of the reference in use.
    pub fn reference_version(&self) -> ReferenceVersion {
        self.reference.version
    }

    /// The reference, once it is complete.
    pub fn reference(&self, config: &MonitorConfig) -> Option<&Histogram> {
        self.reference.ready(config).then_some(&self.reference.sum)
    }

    /// Fewest devices of a window in which a shift worth acting on is seen, with noise of this variance
    /// per bin; `None` when no number does against this reference. While the reference is built, of
    /// windows with equal shares.
    pub fn devices_needed(
        &self,
        noise_variance: f64,
        config: &MonitorConfig,
        intervals: [u32; 3],
        calibrator: &mut Calibrator,
    ) -> Option<u64> {
        self.against(config)
            .devices_needed(noise_variance, config, intervals, calibrator)
    }

    fn against(&self, config: &MonitorConfig) -> Against<'_> {
        match self.reference(config) {
            Some(reference) => Against::Reference(reference),
            None => Against::Planned {
                bins: self.quantity.bins(),
                windows: config.warm_up_windows,
            },
        }
    }

    /// Compares a window with the reference, or adds it to the one in the making. A window without
    /// enough data changes nothing. Whether there is enough is decided by `answered`, the public number
    /// of devices that answered, and by the reference. A window that turns out nearly empty all the
    /// same, since most answers were blank, is not used either.
    ///
    /// `intervals` are windows between false alarms of this stream (exit, warning, drift), see
    /// [`MonitorConfig::stream_intervals`].
    ///
    /// # Errors
    /// [`DriftError::DifferentQuantities`] if the window counts something else, [`DriftError::Overflow`]
    /// if the reference passes 2^53. The state is unchanged then.
    pub fn observe(
        &mut self,
        window: &Histogram,
        answered: u64,
        config: &MonitorConfig,
        intervals: [u32; 3],
        calibrator: &mut Calibrator,
    ) -> Result<Observation, DriftError> {
        self.reference.sum.check_comparable(window)?;
        let mut observation = self.unseen();
        observation.devices = window.devices();
        observation.noise_sigma = window.noise_variance().sqrt();
        let least = config.min_devices.max(1);
        if answered < least || window.devices() == 0 || is_below(window, least) {
            return Ok(observation);
        }
        if !self.reference.ready(config) {
            self.reference.absorb(window)?;
            observation.sufficient = true;
            return Ok(observation);
        }
        let mut ewma = self.ewma.clone();
        ewma.push(window, config.smoothing);
        let test = self.compare(window, answered, &ewma, config, intervals, calibrator)?;
        let needed = self.devices_needed(window.noise_variance(), config, intervals, calibrator);
        observation.sufficient = needed.is_some_and(|needed| answered >= needed);
        observation.test = Some(test);
        if observation.sufficient {
            if let Some(candidate) = &mut self.candidate {
                candidate.absorb(window)?;
            }
            self.ewma = ewma;
        }
        Ok(observation)
    }

    /// The observation of a window that had no histogram of this quantity.
    pub(crate) fn unseen(&self) -> Observation {
        Observation {
            quantity: self.quantity.name().to_owned(),
            role: self.quantity.role(),
            devices: 0,
            noise_sigma: 0.0,
            reference: self.reference.version,
            test: None,
            sufficient: false,
        }
    }

    fn compare(
        &self,
        window: &Histogram,
        answered: u64,
        ewma: &Ewma,
        config: &MonitorConfig,
        intervals: [u32; 3],
        calibrator: &mut Calibrator,
    ) -> Result<TestResult, DriftError> {
        let reference = &self.reference.sum;
        let single = wald(window, reference)?;
        let ewma = ewma.test(reference);
        let thresholds = calibrator.thresholds(CalibrationKey {
            degrees: single.degrees.max(ewma.degrees),
            reference_step: CalibrationKey::reference_step(variance_ratio(window, reference)?),
            smoothing_milli: (config.smoothing * 1000.0).round() as u16,
            horizon: config.horizon,
            intervals,
        });
        Ok(TestResult {
            single,
            ewma,
            thresholds,
            effect: effect(window, reference)?,
            minimal_psi: Against::Reference(reference).visible_psi(
                answered,
                window.noise_variance(),
                thresholds.drift,
            ),
            level: level(&single, &ewma, &thresholds),
        })
    }

    /// Drops the reference and starts to build the next.
    pub(crate) fn rebase(&mut self, version: ReferenceVersion) {
        *self = Self {
            reference: Reference::new(&self.quantity, version),
            ..Self::new(self.quantity.clone())
        };
    }

    /// Starts to build the next reference beside the one in use.
    pub(crate) fn start_candidate(&mut self, version: ReferenceVersion) {
        self.candidate = Some(Reference::new(&self.quantity, version));
    }

    /// Gives up the next reference.
    pub(crate) fn drop_candidate(&mut self) {
        self.candidate = None;
    }

    /// Puts the next reference in place, complete or not, and forgets the past.
    pub(crate) fn adopt_candidate(&mut self) {
        if let Some(candidate) = self.candidate.take() {
            self.reference = candidate;
            self.ewma = Ewma::new(self.quantity.bins());
        }
    }
}

/// Whether a window surely holds fewer votes than `least`: by more than its noise explains.
fn is_below(window: &Histogram, least: u64) -> bool {
    let noise = 4.0 * (window.noise_variance() * window.counts().len() as f64).sqrt();
    (window.devices() as f64) + noise < least as f64
}

/// Variance of the reference's shares over that of the window's, per bin on average.
fn variance_ratio(window: &Histogram, reference: &Histogram) -> Result<f64, DriftError> {
    let pooled = Contrast::of(window, reference)?.pooled;
    let variance = |side: &Histogram| {
        let n = side.devices() as f64;
        Contrast::mean_variance(&pooled, 1.0 / n, side.noise_variance() / (n * n))
    };
    Ok(variance(reference) / variance(window))
}

/// Without noise a window may occupy fewer bins than the EWMA has seen; fewer degrees of freedom make
/// the common threshold stricter for it, never laxer.
fn level(single: &Wald, ewma: &Wald, thresholds: &Thresholds) -> Level {
    let statistic = single.statistic.max(ewma.statistic);
    if statistic >= thresholds.drift {
        Level::Drift
    } else if statistic >= thresholds.warning {
        Level::Warning
    } else if statistic >= thresholds.exit {
        Level::Raised
    } else {
        Level::Calm
    }
}
