//! What is kept of a monitor: a header, one record per region, one per window and region.

use serde::{Deserialize, Serialize};
use tributary_drift::{RegionMonitor, Verdict, WindowReport};
use tributary_model::{Digest, Marks};
use tributary_privacy::Mechanism;
use tributary_proto::{MonitorId, RunId};

use super::quantities;
use crate::CoordinatorError;
use crate::core::Core;
use crate::engine::RunState;
use crate::epoch::{Asked, Lineage};
use crate::names::monitor_key;
use tributary_recipe::RunSpec;
use tributary_store::key::{Key, KeyReader};
use tributary_store::{Batch, Expect, Table};

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
    /// Windows asked.
    pub windows: u64,
    /// The newest window that devices were asked in.
    #[serde(default)]
    pub asked_window: u64,
    /// In which starts of the coordinator they were.
    #[serde(default, skip_serializing_if = "Lineage::is_empty")]
    pub lineage: Lineage,
    /// What it could not do, as a sentence; empty when all is well.
    #[serde(default)]
    pub note: String,
    /// Whether a window was released with a device in it whose spending was lost by a restore.
    #[serde(default)]
    pub after_restore: bool,
    /// How it ended; none while it is at work.
    #[serde(default)]
    pub end: Option<End>,
}

impl Header {
    /// Before the first window.
    pub fn new(id: MonitorId, run_id: RunId, spec: RunSpec) -> Self {
        Self {
            id,
            run_id,
            spec,
            next_window: 1,
            windows: 0,
            asked_window: 0,
            lineage: Lineage::default(),
            note: String::new(),
            after_restore: false,
            end: None,
        }
    }
}

/// How a monitor ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Whether an operator ended it; otherwise its windows are over.
    pub stopped: bool,
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
}

/// Why a region's devices are not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// Devices that can be reached.
    pub reachable: u64,
    /// Those of them that can pay for their votes.
    pub payers: u64,
    /// Devices that a window needs; none when no number does.
    pub needed: Option<u64>,
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
    /// Builds of the open drift's new model that failed, after it was trained.
    #[serde(default)]
    pub builds_failed: u32,
    /// Why the last playbook came to nothing; empty when it did not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub failure: String,
    /// Windows in which its devices were asked.
    #[serde(default)]
    pub asked: u64,
    /// Whether the builds of the run's own model are made, where the recipe wants them.
    #[serde(default)]
    pub built: bool,
    /// What the last window lacked; none when it could be judged.
    #[serde(default)]
    pub shortage: Option<Shortage>,
    /// Devices that a window needs; 0 while it is not known, or when no number does.
    #[serde(default)]
    pub devices_needed: u64,
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
    /// What protected the votes; of older windows noise is assumed.
    #[serde(default = "discrete_gaussian")]
    pub mechanism: Mechanism,
    /// Marks of the model that was watched, and of the votes.
    #[serde(default)]
    pub marks: Marks,
}

fn discrete_gaussian() -> Mechanism {
    Mechanism::DiscreteGaussian
}

impl RegionRecord {
    /// A region before its first window.
    pub fn new(model: Digest, monitor: RegionMonitor) -> Self {
        Self {
            model,
            monitor,
            mitigation: None,
            since_mitigation: 0,
            failed: 0,
            begun: 0,
            builds_failed: 0,
            failure: String::new(),
            asked: 0,
            built: false,
            shortage: None,
            devices_needed: 0,
        }
    }
}

/// The key of one region's window.
pub fn row_key(id: &MonitorId, window: u64, index: usize) -> Vec<u8> {
    let key = Key::new().text(id.as_str()).number(window);
    key.number(index as u64).into_bytes()
}

/// The id of a monitor on disk, with its records or why they can't be read.
type StoredMonitor = (String, Result<MonitorRecord, CoordinatorError>);

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
        for (index, region) in spec.regions.iter().enumerate() {
            let monitor = RegionMonitor::new(
                region.as_str(),
                quantities::of_run(spec.drift.as_ref(), classes)?,
                quantities::settings(spec.drift.as_ref(), spec.regions.len()),
            )?;
            let model = regional.get(index).copied().unwrap_or(model);
            regions.push(RegionRecord::new(model, monitor));
        }
        let header = Header::new(id, run.id.clone(), spec);
        let record = Self { header, regions };
        let mut batch = Batch::new();
        record.put(&mut batch)?;
        core.store.commit(batch).await?;
        Ok(record)
    }

    /// The windows that devices of a monitor were asked in; nothing for one that is not known.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn windows_asked(core: &Core, id: &MonitorId) -> Result<Option<Asked>, CoordinatorError> {
        let key = monitor_key(id.as_str()).into_bytes();
        let Some(record) = core.store.get(Table::Monitors, &key)? else {
            return Ok(None);
        };
        let header: Header = record.json()?;
        // in a record of before this was noted it is the last one that was judged, or the next
        let judged = header.next_window.saturating_sub(1);
        let newest = match header.asked_window {
            0 if judged > 0 => header.next_window,
            asked => asked.max(judged),
        };
        let lineage = header.lineage;
        Ok(Some(Asked { newest, lineage }))
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
        let key = monitor_key(self.header.id.as_str()).into_bytes();
        batch.put_json(Table::Monitors, key, &self.header, Expect::Any)?;
        Ok(())
    }

    /// Adds a region to a batch.
    ///
    /// # Errors
    /// When it is too large.
    pub fn put_region(&self, index: usize, batch: &mut Batch) -> Result<(), CoordinatorError> {
        let key = monitor_key(self.header.id.as_str()).number(index as u64);
        let key = key.into_bytes();
        batch.put_json(Table::Monitors, key, &self.regions[index], Expect::Any)?;
        Ok(())
    }

    /// The monitors on disk whose ids begin with `prefix`, a whole id or nothing, each for itself: one
    /// that is damaged is an error of its own.
    ///
    /// # Errors
    /// When the store as a whole can't be read.
    pub fn all(core: &Core, prefix: &[u8]) -> Result<Vec<StoredMonitor>, CoordinatorError> {
        let mut monitors: Vec<StoredMonitor> = Vec::new();
        // a header's key is a prefix of its regions' keys, so it comes first
        for row in core.store.records(Table::Monitors, prefix) {
            let (key, record) = row?;
            let mut parts = KeyReader::new(&key);
            let id = parts.text().unwrap_or_default();
            if parts.is_at_end() {
                let header = record.json().map_err(CoordinatorError::from);
                let regions = Vec::new();
                monitors.push((id, header.map(|header| Self { header, regions })));
            } else if let Some((_, monitor)) = monitors.last_mut()
                && let Ok(whole) = monitor
                // what has a name instead of a number is a calibration's outcome
                && parts.number().is_some()
                && parts.is_at_end()
            {
                match record.json() {
                    Ok(region) => whole.regions.push(region),
                    Err(error) => *monitor = Err(error.into()),
                }
            }
        }
        for (_, monitor) in &mut monitors {
            let complete = |whole: &Self| {
                let regions = whole.regions.len();
                // one that was given up before its start has none
                let none = regions == 0 && whole.header.end.is_some();
                none || regions == whole.header.spec.regions.len()
            };
            if monitor.as_ref().is_ok_and(|whole| !complete(whole)) {
                *monitor = Err(CoordinatorError::Inconsistent(
                    "a region's record is missing",
                ));
            }
        }
        for (_, monitor) in &mut monitors {
            if let Ok(whole) = monitor {
                whole.count_asked();
            }
        }
        Ok(monitors)
    }

    /// One monitor; none when it is not on disk.
    ///
    /// # Errors
    /// When a record is damaged.
    pub fn find(core: &Core, id: &MonitorId) -> Result<Option<Self>, CoordinatorError> {
        let prefix = monitor_key(id.as_str()).into_bytes();
        Self::all(core, &prefix)?
            .pop()
            .map(|(_, record)| record)
            .transpose()
    }

    /// Records of before regions counted their windows: each was asked in all of the monitor's.
    fn count_asked(&mut self) {
        if self.regions.iter().all(|region| region.asked == 0) {
            let windows = self.header.windows;
            self.regions
                .iter_mut()
                .for_each(|region| region.asked = windows);
        }
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
        let key = row_key(&self.header.id, window.report.window, index);
        batch.put_json(Table::DriftWindows, key, window, Expect::Absent)?;
        Ok(())
    }

    /// True when a mitigation of the region is under way or due.
    pub fn is_mitigating(&self, index: usize) -> bool {
        self.regions[index].monitor.state() == Verdict::Mitigating
    }
}
