//! A monitor as the control service shows it.

use tributary_drift::Verdict;
use tributary_privacy::Adjacency;
use tributary_proto::RunId;
use tributary_proto::v1::{self, DriftWindow, MonitorState, RegionVerdict, StreamReading};

use super::record::{MonitorRecord, RegionRecord, Shortage, WindowRecord};

/// What is said of a monitor whose windows hold devices that a restore has marked.
const AFTER_RESTORE: &str = "NOT PRIVATE: windows since the data folder was restored hold devices whose \
                             spending was lost; for a promise again, watch with other devices, or under \
                             a cap";

impl MonitorRecord {
    /// The monitor without its windows.
    pub fn view(&self) -> v1::Monitor {
        let header = &self.header;
        let state = match &header.end {
            None => MonitorState::Running,
            Some(end) if end.stopped => MonitorState::Stopped,
            Some(_) => MonitorState::Completed,
        };
        let drift = header.spec.drift.as_ref();
        v1::Monitor {
            monitor_id: header.id.to_string(),
            run_id: header.run_id.to_string(),
            regions: self.verdicts(),
            windows: Vec::new(),
            state: state.into(),
            reason: self.reason(),
            windows_asked: header.windows,
            windows_planned: drift.and_then(|drift| drift.windows).unwrap_or(0),
            earlier_windows: false,
        }
    }

    /// What is amiss, and what its windows do not promise.
    fn reason(&self) -> String {
        let mut sentences = Vec::new();
        if !self.header.note.is_empty() {
            sentences.push(self.header.note.clone());
        }
        let waits =
            !self.regions.is_empty() && self.regions.iter().all(|region| region.shortage.is_some());
        if waits && sentences.is_empty() && self.header.end.is_none() {
            let sentence = "no region has enough devices for a window: see what each needs";
            sentences.push(sentence.to_owned());
        }
        if self.header.after_restore {
            sentences.push(AFTER_RESTORE.to_owned());
        }
        sentences.join("; ")
    }

    /// Where each region stands.
    pub fn verdicts(&self) -> Vec<RegionVerdict> {
        self.regions.iter().map(RegionRecord::verdict).collect()
    }
}

impl RegionRecord {
    fn verdict(&self) -> RegionVerdict {
        let verdict = match &self.shortage {
            Some(_) => Verdict::InsufficientData,
            None => self.monitor.verdict(),
        };
        let mut sentences: Vec<String> =
            self.shortage.into_iter().map(Shortage::sentence).collect();
        if !self.failure.is_empty() {
            sentences.push(self.failure.clone());
        }
        RegionVerdict {
            region: self.monitor.region().to_owned(),
            verdict: verdict.name().to_owned(),
            reference_version: self.monitor.reference_version().0.into(),
            mitigation_run_id: self
                .mitigation
                .as_ref()
                .map_or(String::new(), RunId::to_string),
            note: sentences.join("; "),
            devices_needed: self.devices_needed,
            windows_asked: self.asked,
        }
    }
}

impl Shortage {
    /// What is missing and what would help.
    fn sentence(self) -> String {
        let Self {
            reachable, payers, ..
        } = self;
        match self.needed {
            None => "no number of devices would do against this reference: start another run with \
                     less drift.noise_votes, a longer drift.warm_up or a larger \
                     drift.max_invisible_psi"
                .to_owned(),
            Some(needed) if reachable >= needed && payers < needed => format!(
                "{payers} of the {reachable} devices within reach can still pay for a window that \
                 needs {needed}: raise the privacy cap or wait for other devices"
            ),
            Some(needed) => format!(
                "{reachable} devices are within reach or answered, a window needs {needed}: connect \
                 more, or start another run with less drift.noise_votes, fewer \
                 drift.minimum_devices or a larger drift.max_invisible_psi"
            ),
        }
    }
}

impl WindowRecord {
    /// The window on the wire.
    pub fn wire(&self, monitor_id: &str) -> DriftWindow {
        let streams = self.report.observations.iter().map(|observation| {
            let mut reading = StreamReading {
                quantity: observation.quantity.clone(),
                ..StreamReading::default()
            };
            if let Some(test) = &observation.test {
                reading.statistic = test.single.statistic;
                reading.threshold = test.thresholds.drift;
                reading.ewma = test.ewma.statistic;
                reading.ewma_threshold = test.thresholds.drift;
                reading.p_value = test.single.p_value;
                reading.psi = test.effect.psi;
                reading.js_distance = test.effect.js_distance;
            }
            reading
        });
        DriftWindow {
            monitor_id: monitor_id.to_owned(),
            window: self.report.window,
            region: self.report.region.clone(),
            verdict: self.report.verdict.name().to_owned(),
            devices: self.voters,
            streams: streams.collect(),
            playbook: self.playbook.clone(),
            rho: self.pico_rho as f64 * 1e-12,
            adjacency: Adjacency::ZeroOutDevice.name().to_owned(),
            mechanism: self.mechanism.name().to_owned(),
            marks: self.marks.names(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_says_how_many_devices_would_do_and_what_else_helps() {
        let shortage = |reachable, payers, needed| Shortage {
            reachable,
            payers,
            needed,
        };
        let few = shortage(40, 40, Some(80)).sentence();
        assert!(
            few.contains("40 devices") && few.contains("needs 80"),
            "{few}"
        );
        let poor = shortage(100, 3, Some(80)).sentence();
        assert!(
            poor.contains("3 of the 100") && poor.contains("cap"),
            "{poor}"
        );
        let hopeless = shortage(100, 100, None).sentence();
        assert!(hopeless.contains("noise_votes"), "{hopeless}");
    }
}
