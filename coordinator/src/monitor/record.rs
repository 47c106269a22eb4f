//! What is kept of a monitor: a header, one record per region, one per window and region.

use serde::{Deserialize, Serialize};
use tributary_drift::{MonitorConfig, RegionMonitor, Verdict, WindowReport};
use tributary_model::Digest;
use tributary_proto::v1::{self, DriftWindow, RegionVerdict, StreamReading};
use tributary_proto::{MonitorId, RunId};

use super::quantities;
use crate::CoordinatorError;
use crate::core::Core;
use crate::engine::RunState;
use crate::spec::{DriftSpec, RunSpec};
use crate::store::key::{Key, KeyReader};
use crate::store::{Batch, Expect, StoreError, Table};

/// Numbers of calibrations start here, so that they never meet a monitor's windows.
pub(super) const FIRST_CALIBRATION: u64 = 1 << 48;

/// What concerns the whole monitor.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Header {
    /// The monitor.
    pub id: MonitorId,
    /// The run whose model it watches.
    pub run_id: RunId,
    /// The recipe.
    pub spec: RunSpec,
    /// Number of the next window or calibration.
    pub next_window: u64,
    /// Windows judged.
    pub windows: u64,
    /// The newest window that devices were asked in.
    #[serde(default)]
    pub asked_window: u64,
}

/// What concerns one region.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RegionRecord {
    /// The model version that its devices run.
    pub model: Digest,
    /// Statistics and verdict.
    pub monitor: RegionMonitor,
    /// The run that mitigates, or mitigated last.
    pub mitigation: Option<RunId>,
    /// Windows since the last mitigation.
    pub since_mitigation: u32,
    /// Mitigations of the open drift that failed.
    pub failed: u32,
    /// Mitigations begun since the monitor is there: each starts one run.
    #[serde(default)]
    pub begun: u32,
}

/// A monitor as on disk.
#[derive(Debug, Clone)]
pub struct MonitorRecord {
    /// The header.
    pub header: Header,
    /// The regions, in the order of the recipe.
    pub regions: Vec<RegionRecord>,
}

/// A judged window of one region.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WindowRecord {
    /// What the statistics say.
    pub report: WindowReport,
    /// What the verdict triggered; empty when nothing.
    pub playbook: String,
    /// Charged to each voter, in units of 1e-12 of zCDP.
    pub pico_rho: u64,
    /// Who voted, as a number.
    pub voters: u64,
}

impl MonitorRecord {
    /// A monitor at its first window, durable when this returns. Regions without a version in
    /// `regional` watch `model`.
    ///
    /// # Errors
    /// When the recipe's quantities are wrong or the store refuses.
    pub async fn new(
        core: &Core,
        id: MonitorId,
        run: &RunState,
        model: Digest,
        regional: &[Digest],
    ) -> Result<Self, CoordinatorError> {
        let spec = run.spec.clone();
        let classes = core.registry.file(&model).await?.spec.graph()?.classes();
        let mut regions = Vec::with_capacity(spec.regions.len());
        if let Some(drift) = &spec.drift {
            let config = config(drift, spec.regions.len());
            for (index, region) in spec.regions.iter().enumerate() {
                let quantities = quantities::of_recipe(&drift.quantities, classes)?;
                let monitor = RegionMonitor::new(region.as_str(), quantities, config.clone())?;
                regions.push(RegionRecord {
                    model: regional.get(index).copied().unwrap_or(model),
                    monitor,
                    mitigation: None,
                    since_mitigation: 0,
                    failed: 0,
                    begun: 0,
                });
            }
        }
        let header = Header {
            id,
            run_id: run.id.clone(),
            spec,
            next_window: 1,
            windows: 0,
            asked_window: 0,
        };
        let record = Self { header, regions };
        let mut batch = Batch::new();
        record.put(&mut batch)?;
        core.store.commit(batch).await?;
        Ok(record)
    }

    /// True when the monitor is on disk.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn exists(core: &Core, id: &MonitorId) -> Result<bool, CoordinatorError> {
        let key = Key::new().text(id.as_str()).into_bytes();
        Ok(core.store.get(Table::Monitors, &key)?.is_some())
    }

    /// The newest window that devices of a monitor were asked in; nothing for one that is not known.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn newest_window(core: &Core, id: &MonitorId) -> Result<Option<u64>, CoordinatorError> {
        let key = Key::new().text(id.as_str()).into_bytes();
        let Some(record) = core.store.get(Table::Monitors, &key)? else {
            return Ok(None);
        };
        let header: Header = record.json()?;
        // in a record of before this was noted it is the last one that was judged, or the next
        let judged = header.next_window.saturating_sub(1);
        Ok(Some(match header.asked_window {
            0 if judged > 0 => header.next_window,
            asked => asked.max(judged),
        }))
    }

    /// The number of a monitor's newest calibration; 0 when there was none.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn newest_calibration(core: &Core, id: &MonitorId) -> Result<u64, CoordinatorError> {
        let record = core.store.get(Table::Meta, &calibrations_key(id))?;
        Ok(record.map_or(Ok(0), |record| record.json())?)
    }

    /// Takes the next number for a calibration, durably.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn next_calibration(core: &Core, id: &MonitorId) -> Result<u64, CoordinatorError> {
        let key = calibrations_key(id);
        loop {
            let known = core.store.get(Table::Meta, &key)?;
            let newest = known
                .as_ref()
                .map_or(Ok(0), |record| record.json::<u64>())?;
            let number = newest.max(FIRST_CALIBRATION) + 1;
            let mut batch = Batch::new();
            batch.put_json(
                Table::Meta,
                key.clone(),
                &number,
                Expect::from(known.as_ref()),
            )?;
            match core.store.commit(batch).await {
                // another region's calibration was faster
                Err(StoreError::Conflict { .. }) => {}
                outcome => return Ok(outcome.map(|_| number)?),
            }
        }
    }

    /// Adds the whole record to a batch.
    ///
    /// # Errors
    /// When it is too large.
    pub fn put(&self, batch: &mut Batch) -> Result<(), CoordinatorError> {
        self.put_header(batch)?;
        (0..self.regions.len()).try_for_each(|index| self.put_region(index, batch))
    }

    /// Adds the header to a batch.
    ///
    /// # Errors
    /// When it is too large.
    pub fn put_header(&self, batch: &mut Batch) -> Result<(), CoordinatorError> {
        let key = Key::new().text(self.header.id.as_str()).into_bytes();
        batch.put_json(Table::Monitors, key, &self.header, Expect::Any)?;
        Ok(())
    }

    /// Adds a region to a batch.
    ///
    /// # Errors
    /// When it is too large.
    pub fn put_region(&self, index: usize, batch: &mut Batch) -> Result<(), CoordinatorError> {
        let key = Key::new()
            .text(self.header.id.as_str())
            .number(index as u64)
            .into_bytes();
        batch.put_json(Table::Monitors, key, &self.regions[index], Expect::Any)?;
        Ok(())
    }

    /// All monitors on disk by their ids, each for itself: one that is damaged is an error of its own.
    ///
    /// # Errors
    /// When the store as a whole can't be read.
    pub fn all(
        core: &Core,
    ) -> Result<Vec<(String, Result<Self, CoordinatorError>)>, CoordinatorError> {
        let mut monitors: Vec<(String, Result<Self, CoordinatorError>)> = Vec::new();
        // a header's key is a prefix of its regions' keys, so it comes first
        for row in core.store.records(Table::Monitors, b"") {
            let (key, record) = row?;
            let mut parts = KeyReader::new(&key);
            let id = parts.text().unwrap_or_default();
            if parts.is_at_end() {
                let header = record.json().map_err(CoordinatorError::from);
                let regions = Vec::new();
                monitors.push((id, header.map(|header| Self { header, regions })));
            } else if let Some((_, monitor)) = monitors.last_mut()
                && let Ok(whole) = monitor
            {
                match record.json() {
                    Ok(region) => whole.regions.push(region),
                    Err(error) => *monitor = Err(error.into()),
                }
            }
        }
        for (_, monitor) in &mut monitors {
            let complete = |whole: &Self| whole.regions.len() == whole.header.spec.regions.len();
            if monitor.as_ref().is_ok_and(|whole| !complete(whole)) {
                *monitor = Err(CoordinatorError::Inconsistent(
                    "a region's record is missing",
                ));
            }
        }
        Ok(monitors)
    }

    /// Adds a judged window to a batch.
    ///
    /// # Errors
    /// When it is too large.
    pub fn put_window(
        &self,
        index: usize,
        window: &WindowRecord,
        batch: &mut Batch,
    ) -> Result<(), CoordinatorError> {
        let key = Key::new().text(self.header.id.as_str());
        let key = key
            .number(window.report.window)
            .number(index as u64)
            .into_bytes();
        batch.put_json(Table::DriftWindows, key, window, Expect::Absent)?;
        Ok(())
    }

    /// The monitor as the control service shows it.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn view(&self, core: &Core) -> Result<v1::Monitor, CoordinatorError> {
        let prefix = Key::new().text(self.header.id.as_str()).into_bytes();
        let mut windows = Vec::new();
        for row in core.store.records(Table::DriftWindows, &prefix) {
            windows.push(row?.1.json::<WindowRecord>()?.wire(self.header.id.as_str()));
        }
        Ok(v1::Monitor {
            monitor_id: self.header.id.to_string(),
            run_id: self.header.run_id.to_string(),
            regions: self.verdicts(),
            windows,
        })
    }

    /// Where each region stands.
    pub fn verdicts(&self) -> Vec<RegionVerdict> {
        let wire = |record: &RegionRecord| RegionVerdict {
            region: record.monitor.region().to_owned(),
            verdict: record.monitor.verdict().name().to_owned(),
            reference_version: record.monitor.reference_version().0.into(),
            mitigation_run_id: record
                .mitigation
                .as_ref()
                .map_or(String::new(), RunId::to_string),
        };
        self.regions.iter().map(wire).collect()
    }

    /// True when a mitigation of the region is under way or due.
    pub fn is_mitigating(&self, index: usize) -> bool {
        self.regions[index].monitor.state() == Verdict::Mitigating
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
        }
    }
}

fn calibrations_key(id: &MonitorId) -> Vec<u8> {
    format!("calibrations/{id}").into_bytes()
}

fn config(drift: &DriftSpec, regions: usize) -> MonitorConfig {
    let interval = drift.mean_windows_between_false_alarms as u32;
    let default = MonitorConfig::default();
    MonitorConfig {
        regions: regions as u32,
        warm_up_windows: drift.warm_up,
        min_devices: drift.minimum_devices.into(),
        drift_interval: interval,
        warning_interval: default.warning_interval.min(interval),
        exit_interval: default.exit_interval.min(interval),
        ..default
    }
}
