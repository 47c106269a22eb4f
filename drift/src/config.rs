//! Settings of a region's monitor.

use serde::{Deserialize, Serialize};

use crate::error::DriftError;

/// Settings of a [`crate::RegionMonitor`]. Intervals are for the whole fleet: they are multiplied by the
/// number of streams (regions x quantities), so that the rates add up to the wanted one (Bonferroni in
/// rate).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MonitorConfig {
    /// Regions of the fleet that are monitored, at least 1. Each has the same number of quantities.
    pub regions: u32,
    /// Windows that make a reference, 1 to 1000.
    pub warm_up_windows: u32,
    /// Fewest devices a window needs, at least 1.
    pub min_devices: u64,
    /// Largest PSI that may stay invisible to a single window before a stream says "insufficient data".
    /// 0.24 is half a standard deviation of a normal variable, 0.95 one.
    pub max_invisible_psi: f64,
    /// Weight of the newest window in the EWMA, 0.001 to 1. 0.2 remembers about 9 windows.
    pub smoothing: f64,
    /// Mean windows between false drift verdicts in the whole fleet, 20 to 10^6.
    pub drift_interval: u32,
    /// Mean windows between false warnings in the whole fleet, 20 to `drift_interval`.
    pub warning_interval: u32,
    /// A stream is calm under the level that noise passes once in this many windows, 10 to
    /// `warning_interval`; lower means sooner calm.
    pub exit_interval: u32,
    /// Calm windows in a row that end a warning or a drift, at least 1.
    pub exit_windows: u32,
    /// Windows after a mitigation in which verdicts are muted, at least 1.
    pub cooldown_windows: u32,
    /// Windows of a stream over which the intervals are kept, 10 to 1000.
    pub horizon: u32,
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self {
            regions: 1,
            warm_up_windows: 3,
            min_devices: 50,
            max_invisible_psi: 1.0,
            smoothing: 0.2,
            drift_interval: 1000,
            warning_interval: 200,
            exit_interval: 50,
            exit_windows: 3,
            cooldown_windows: 3,
            horizon: 100,
        }
    }
}

impl MonitorConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`DriftError::BadConfig`] naming the setting and its range.
    pub fn validate(&self) -> Result<(), DriftError> {
        self.check_sensitivity()?;
        self.check_intervals()?;
        self.check_phases()
    }

    /// What a window must hold, and what a stream must be able to see.
    fn check_sensitivity(&self) -> Result<(), DriftError> {
        let (regions, warm_up) = (self.regions, self.warm_up_windows);
        check(
            (1..=1_000_000).contains(&regions),
            "regions",
            &regions,
            "1 to 10^6",
        )?;
        check(
            (1..=1000).contains(&warm_up),
            "warm_up_windows",
            &warm_up,
            "1 to 1000",
        )?;
        check(
            self.min_devices >= 1,
            "min_devices",
            &self.min_devices,
            "at least 1",
        )?;
        let psi = self.max_invisible_psi;
        let visible = psi > 0.0 && psi.is_finite();
        check(visible, "max_invisible_psi", &psi, "positive and finite")?;
        let weight = self.smoothing;
        check(
            (0.001..=1.0).contains(&weight),
            "smoothing",
            &weight,
            "0.001 to 1",
        )
    }

    /// Mean windows between false alarms.
    fn check_intervals(&self) -> Result<(), DriftError> {
        let (drift, warning, exit) = (
            self.drift_interval,
            self.warning_interval,
            self.exit_interval,
        );
        check(
            (20..=1_000_000).contains(&drift),
            "drift_interval",
            &drift,
            "20 to 10^6",
        )?;
        let allowed = "20 to drift_interval";
        check(
            (20..=drift).contains(&warning),
            "warning_interval",
            &warning,
            allowed,
        )?;
        let allowed = "10 to warning_interval";
        check(
            (10..=warning).contains(&exit),
            "exit_interval",
            &exit,
            allowed,
        )
    }

    /// How long the states of a region last.
    fn check_phases(&self) -> Result<(), DriftError> {
        let (exit, cooldown) = (self.exit_windows, self.cooldown_windows);
        check(exit >= 1, "exit_windows", &exit, "at least 1")?;
        check(cooldown >= 1, "cooldown_windows", &cooldown, "at least 1")?;
        let horizon = self.horizon;
        check(
            (10..=1000).contains(&horizon),
            "horizon",
            &horizon,
            "10 to 1000",
        )
    }

    /// Intervals of one stream (exit, warning, drift) when each region has `quantities`.
    pub fn stream_intervals(&self, quantities: usize) -> [u32; 3] {
        let streams = u64::from(self.regions).saturating_mul(quantities.max(1) as u64);
        [
            self.exit_interval,
            self.warning_interval,
            self.drift_interval,
        ]
        .map(|interval| {
            let each = u64::from(interval).saturating_mul(streams);
            u32::try_from(each).unwrap_or(u32::MAX)
        })
    }
}

fn check(
    fine: bool,
    field: &'static str,
    value: &dyn std::fmt::Display,
    remedy: &'static str,
) -> Result<(), DriftError> {
    if fine {
        Ok(())
    } else {
        Err(DriftError::BadConfig {
            field,
            value: value.to_string(),
            remedy,
        })
    }
}
