//! Several streams of one region, one verdict.

mod steps;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::calibration::Calibrator;
use crate::config::MonitorConfig;
use crate::error::DriftError;
use crate::histogram::Histogram;
use crate::playbook::Evidence;
use crate::quantity::Quantity;
use crate::stream::{Level, Observation, StreamMonitor};
use crate::verdict::{DriftId, ReferenceVersion, Verdict};

/// What one window says about a region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowReport {
    /// Region.
    pub region: String,
    /// Number of the window.
    pub window: u64,
    /// Verdict after it.
    pub verdict: Verdict,
    /// The drift that is open, if any.
    pub drift: Option<DriftId>,
    /// Whether this window opened it.
    pub opened: bool,
    /// One observation per monitored quantity, in the monitor's order.
    pub observations: Vec<Observation>,
    /// What moved, by role.
    pub evidence: Evidence,
}

/// Monitor of one region. Serialise it after each window; it goes on from there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegionMonitor {
    region: String,
    config: MonitorConfig,
    streams: Vec<StreamMonitor>,
    /// The state behind the verdict; never [`Verdict::InsufficientData`].
    state: Verdict,
    insufficient: bool,
    /// Calm windows in a row, in a warning or drift.
    calm_windows: u32,
    /// Windows since the cooldown began.
    cooled_windows: u32,
    drift: Option<DriftId>,
    newest_reference: ReferenceVersion,
    last_window: Option<u64>,
}

impl RegionMonitor {
    /// A monitor in warm-up.
    ///
    /// # Errors
    /// [`DriftError::BadConfig`] (also for no quantities, or more than 1024),
    /// [`DriftError::DuplicateQuantity`].
    pub fn new(
        region: impl Into<String>,
        quantities: Vec<Quantity>,
        config: MonitorConfig,
    ) -> Result<Self, DriftError> {
        config.validate()?;
        if quantities.is_empty() || quantities.len() > 1024 {
            let value = quantities.len().to_string();
            return Err(DriftError::BadConfig {
                field: "quantities",
                value,
                remedy: "give 1 to 1024",
            });
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = quantities
            .iter()
            .find(|quantity| !seen.insert(quantity.id()))
        {
            return Err(DriftError::DuplicateQuantity {
                quantity: twice.id().clone(),
            });
        }
        Ok(Self {
            region: region.into(),
            config,
            streams: quantities.into_iter().map(StreamMonitor::new).collect(),
            state: Verdict::WarmUp,
            insufficient: false,
            calm_windows: 0,
            cooled_windows: 0,
            drift: None,
            newest_reference: ReferenceVersion(1),
            last_window: None,
        })
    }

    /// Fewest devices of a window that can be judged, with noise of this variance per bin: at least one
    /// stream sees a shift worth acting on. It depends on settings and the reference alone. `None` when
    /// no number does against the present reference.
    pub fn devices_needed(&self, noise_variance: f64, calibrator: &mut Calibrator) -> Option<u64> {
        let intervals = self.config.stream_intervals(self.streams.len());
        let needs = self.streams.iter().filter_map(|stream| {
            stream.devices_needed(noise_variance, &self.config, intervals, calibrator)
        });
        needs.min()
    }

    /// As [`RegionMonitor::observe_answers`], of windows in which nobody answered with a blank.
    ///
    /// # Errors
    /// As [`RegionMonitor::observe_answers`].
    pub fn observe(
        &mut self,
        window: u64,
        histograms: &[Histogram],
        calibrator: &mut Calibrator,
    ) -> Result<WindowReport, DriftError> {
        let answered = histograms.iter().map(Histogram::devices).max();
        self.observe_answers(window, answered.unwrap_or(0), histograms, calibrator)
    }

    /// Takes in the histograms of one window, one per quantity, and the public number of devices that
    /// answered. A quantity without histogram counts as insufficient.
    ///
    /// # Errors
    /// [`DriftError::WindowOutOfOrder`] unless `window` is greater than the last one (so a window that is
    /// sent again after a crash isn't counted twice), [`DriftError::UnknownQuantity`],
    /// [`DriftError::DuplicateQuantity`], [`DriftError::DifferentQuantities`], [`DriftError::Overflow`].
    /// The monitor is unchanged then.
    pub fn observe_answers(
        &mut self,
        window: u64,
        answered: u64,
        histograms: &[Histogram],
        calibrator: &mut Calibrator,
    ) -> Result<WindowReport, DriftError> {
        self.check_window(window, histograms)?;
        let (streams, observations) = self.observe_streams(answered, histograms, calibrator)?;
        self.streams = streams;
        self.last_window = Some(window);
        self.insufficient = observations
            .iter()
            .all(|observation| !observation.sufficient);
        let had_drift = self.drift.is_some();
        if !self.insufficient {
            self.advance(window, &observations);
        }
        Ok(WindowReport {
            region: self.region.clone(),
            window,
            verdict: self.verdict(),
            drift: self.drift.clone(),
            opened: !had_drift && self.drift.is_some(),
            evidence: Evidence::of(&observations),
            observations,
        })
    }

    fn check_window(&self, window: u64, histograms: &[Histogram]) -> Result<(), DriftError> {
        if let Some(last) = self.last_window.filter(|&last| window <= last) {
            return Err(DriftError::WindowOutOfOrder { window, last });
        }
        let mut seen = BTreeSet::new();
        for histogram in histograms {
            let quantity = histogram.quantity();
            if !self
                .streams
                .iter()
                .any(|stream| stream.quantity().id() == quantity)
            {
                let (quantity, region) = (quantity.clone(), self.region.clone());
                return Err(DriftError::UnknownQuantity { quantity, region });
            }
            if !seen.insert(quantity) {
                return Err(DriftError::DuplicateQuantity {
                    quantity: quantity.clone(),
                });
            }
        }
        Ok(())
    }

    /// Works on copies, so that an error leaves all streams as they were.
    fn observe_streams(
        &self,
        answered: u64,
        histograms: &[Histogram],
        calibrator: &mut Calibrator,
    ) -> Result<(Vec<StreamMonitor>, Vec<Observation>), DriftError> {
        let intervals = self.config.stream_intervals(self.streams.len());
        let mut streams = self.streams.clone();
        let mut observations = Vec::with_capacity(streams.len());
        for stream in &mut streams {
            let histogram = histograms
                .iter()
                .find(|h| h.quantity() == stream.quantity().id());
            observations.push(match histogram {
                Some(histogram) => {
                    stream.observe(histogram, answered, &self.config, intervals, calibrator)?
                }
                None => stream.unseen(),
            });
        }
        Ok((streams, observations))
    }

    fn advance(&mut self, window: u64, observations: &[Observation]) {
        let tests = || {
            observations
                .iter()
                .filter(|o| o.sufficient)
                .filter_map(|o| o.test)
        };
        let Some(level) = tests().map(|test| test.level).max() else {
            return; // no stream has a complete reference yet
        };
        match self.state {
            Verdict::Cooldown if self.cooled_windows < self.config.cooldown_windows => {
                self.cooled_windows += 1;
            }
            Verdict::WarmUp | Verdict::Cooldown => {
                self.drift = None;
                self.judge(window, Verdict::Ok, level, true);
            }
            Verdict::Ok | Verdict::Warning | Verdict::Drift => {
                // a stream that can't be heard may be the one that drifted: its region isn't calm
                let heard = observations
                    .iter()
                    .zip(&self.streams)
                    .all(|(observation, stream)| {
                        observation.sufficient || stream.reference(&self.config).is_none()
                    });
                self.judge(window, self.state, level, heard);
            }
            Verdict::Mitigating | Verdict::Validating | Verdict::InsufficientData => {}
        }
    }

    /// One step of the hysteresis: up at once, down after `exit_windows` calm windows.
    fn judge(&mut self, window: u64, from: Verdict, level: Level, heard: bool) {
        let calm = level == Level::Calm && heard;
        self.calm_windows = if calm {
            self.calm_windows.saturating_add(1)
        } else {
            0
        };
        let next = match (from, level) {
            (Verdict::Drift, _) | (_, Level::Drift) => Verdict::Drift,
            (_, Level::Warning) => Verdict::Warning,
            (from, _) => from,
        };
        let over = self.calm_windows >= self.config.exit_windows;
        self.state = if over { Verdict::Ok } else { next };
        match self.state {
            Verdict::Drift if self.drift.is_none() => {
                let version = self.reference_version();
                self.drift = Some(DriftId::new(&self.region, version, window));
            }
            Verdict::Ok => self.drift = None,
            _ => {}
        }
    }

    /// Verdict after the last window or step.
    pub fn verdict(&self) -> Verdict {
        if self.insufficient {
            Verdict::InsufficientData
        } else {
            self.state
        }
    }

    /// The state that an insufficient window leaves in place; never [`Verdict::InsufficientData`].
    pub fn state(&self) -> Verdict {
        self.state
    }

    /// Region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Settings.
    pub fn config(&self) -> &MonitorConfig {
        &self.config
    }

    /// The streams, one per quantity.
    pub fn streams(&self) -> &[StreamMonitor] {
        &self.streams
    }

    /// The drift that is open, if any; kept until the cooldown is over.
    pub fn drift(&self) -> Option<&DriftId> {
        self.drift.as_ref()
    }

    /// Last window taken in.
    pub fn last_window(&self) -> Option<u64> {
        self.last_window
    }

    /// Version of the reference in use.
    pub fn reference_version(&self) -> ReferenceVersion {
        self.streams
            .first()
            .map(StreamMonitor::reference_version)
            .unwrap_or_default()
    }
}
