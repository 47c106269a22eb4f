//! Monitors and their windows.

use serde::Serialize;
use tributary_proto::v1;

/// `drift show`.
#[derive(Debug, Serialize)]
pub struct DriftView {
    /// One per monitored run.
    pub monitors: Vec<MonitorView>,
}

/// A monitor of one run's model.
#[derive(Debug, Serialize)]
pub struct MonitorView {
    /// Its id.
    pub monitor: String,
    /// The run whose model it watches.
    pub run: String,
    /// Where each region stands.
    pub regions: Vec<RegionVerdictView>,
    /// The windows that are kept, oldest first.
    pub windows: Vec<WindowView>,
    /// `running`, `completed`, `stopped` or `quarantined`.
    pub state: &'static str,
    /// Why it waits or what it could not do; empty when all is well.
    pub reason: String,
    /// Windows that it has asked.
    pub windows_asked: u64,
    /// Windows after which each region is done; 0 when it has no end.
    pub windows_planned: u64,
}

/// Where a region stands.
#[derive(Debug, Serialize)]
pub struct RegionVerdictView {
    /// The region.
    pub region: String,
    /// The verdict as a word.
    pub verdict: String,
    /// Version of the reference that windows are compared with.
    pub reference_version: u64,
    /// The run that mitigates a drift; empty when none.
    pub mitigation_run: String,
    /// Why it can't be judged, with the remedy; empty when it can.
    pub note: String,
    /// Devices that a window of it needs; 0 when that is not known, or no number would do.
    pub devices_needed: u64,
    /// Windows that its devices were asked in.
    pub windows_asked: u64,
}

/// One window of one region.
#[derive(Debug, Clone, Serialize)]
pub struct WindowView {
    /// The monitor.
    pub monitor: String,
    /// The window, from 1.
    pub window: u64,
    /// The region.
    pub region: String,
    /// The verdict after this window.
    pub verdict: String,
    /// Devices that voted.
    pub devices: u64,
    /// One per quantity.
    pub streams: Vec<ReadingView>,
    /// What the verdict triggered; empty when nothing.
    pub playbook: String,
    /// zCDP charged to each device that voted.
    pub rho: f64,
    /// What one neighbour differs in, for that rho.
    pub adjacency: String,
    /// The mechanism of that rho.
    pub mechanism: String,
    /// `SEEDED` where its noise is known, `NO NOISE` where there was none, `RESTORED` where earlier spending
    /// was lost with a data folder, also in what it comes from.
    pub marks: Vec<String>,
}

/// One quantity in one window.
#[derive(Debug, Clone, Serialize)]
pub struct ReadingView {
    /// The quantity.
    pub quantity: String,
    /// Single-window Wald statistic.
    pub statistic: f64,
    /// Its drift threshold.
    pub threshold: f64,
    /// EWMA statistic.
    pub ewma: f64,
    /// Its drift threshold.
    pub ewma_threshold: f64,
    /// Probability of a statistic as large without drift.
    pub p_value: f64,
    /// Population stability index with the bias of noise removed.
    pub psi: f64,
    /// Jensen-Shannon distance.
    pub js_distance: f64,
}

impl ReadingView {
    /// How far the worse of both statistics went towards its threshold; 1 is at the threshold.
    pub fn severity(&self) -> f64 {
        let share = |value: f64, limit: f64| if limit > 0.0 { value / limit } else { 0.0 };
        share(self.statistic, self.threshold).max(share(self.ewma, self.ewma_threshold))
    }
}

impl WindowView {
    /// Whether noise that nobody knows protects the votes, and the account of every voter is known.
    pub fn is_private(&self) -> bool {
        !self.mechanism.contains("NOT PRIVATE")
    }

    /// The quantity that moved most; none where nothing is tested yet, as in a window of the warm-up.
    pub fn worst(&self) -> Option<&ReadingView> {
        self.streams
            .iter()
            .filter(|reading| reading.threshold > 0.0)
            .max_by(|a, b| a.severity().total_cmp(&b.severity()))
    }
}

impl From<v1::StreamReading> for ReadingView {
    fn from(reading: v1::StreamReading) -> Self {
        Self {
            quantity: reading.quantity,
            statistic: reading.statistic,
            threshold: reading.threshold,
            ewma: reading.ewma,
            ewma_threshold: reading.ewma_threshold,
            p_value: reading.p_value,
            psi: reading.psi,
            js_distance: reading.js_distance,
        }
    }
}

impl From<v1::DriftWindow> for WindowView {
    fn from(window: v1::DriftWindow) -> Self {
        Self {
            monitor: window.monitor_id,
            window: window.window,
            region: window.region,
            verdict: window.verdict,
            devices: window.devices,
            streams: window.streams.into_iter().map(ReadingView::from).collect(),
            playbook: window.playbook,
            rho: window.rho,
            adjacency: window.adjacency,
            mechanism: window.mechanism,
            marks: window.marks,
        }
    }
}

impl From<v1::Monitor> for MonitorView {
    fn from(monitor: v1::Monitor) -> Self {
        let verdict = |region: v1::RegionVerdict| RegionVerdictView {
            region: region.region,
            verdict: region.verdict,
            reference_version: region.reference_version,
            mitigation_run: region.mitigation_run_id,
            note: region.note,
            devices_needed: region.devices_needed,
            windows_asked: region.windows_asked,
        };
        let state = match monitor.state() {
            v1::MonitorState::Completed => "completed",
            v1::MonitorState::Stopped => "stopped",
            v1::MonitorState::Quarantined => "quarantined",
            v1::MonitorState::Running | v1::MonitorState::Unspecified => "running",
        };
        Self {
            state,
            reason: monitor.reason,
            windows_asked: monitor.windows_asked,
            windows_planned: monitor.windows_planned,
            monitor: monitor.monitor_id,
            run: monitor.run_id,
            regions: monitor.regions.into_iter().map(verdict).collect(),
            windows: monitor.windows.into_iter().map(WindowView::from).collect(),
        }
    }
}

impl From<v1::GetDriftResponse> for DriftView {
    fn from(answer: v1::GetDriftResponse) -> Self {
        Self {
            monitors: answer.monitors.into_iter().map(MonitorView::from).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(quantity: &str, statistic: f64, ewma: f64) -> ReadingView {
        let reading = v1::StreamReading {
            quantity: quantity.into(),
            statistic,
            threshold: 10.0,
            ewma,
            ewma_threshold: 4.0,
            ..Default::default()
        };
        reading.into()
    }

    #[test]
    fn the_worst_stream_is_the_one_nearest_to_or_furthest_above_its_threshold() {
        let window = WindowView {
            streams: vec![reading("a", 9.0, 0.0), reading("b", 1.0, 6.0)],
            ..v1::DriftWindow::default().into()
        };
        assert_eq!(window.worst().unwrap().quantity, "b");
        assert_eq!(window.worst().unwrap().severity(), 1.5);
        assert_eq!(reading("c", 1.0, 1.0).severity(), 0.25);
        let warm_up = WindowView {
            streams: vec![v1::StreamReading::default().into()],
            ..v1::DriftWindow::default().into()
        };
        assert!(warm_up.worst().is_none(), "a row without numbers");
    }
}
