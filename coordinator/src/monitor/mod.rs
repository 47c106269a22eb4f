//! Drift monitoring of a trained model, and what a drift triggers.
//!
//! ```text
//! window: ask devices -> one vote per quantity -> exact sums per region
//!      -> noise, charge + record in one commit -> verdict
//! drift:  playbook -> a run of the region alone -> ranges of activations (noised, charged)
//!      -> int8 build per device profile -> signed offers -> new reference
//! ```
//!
//! Participation is public: who was asked and answered is known to the coordinator and printed.
//! What a device said is only ever used as part of a noised sum.
//!
//! - `actor`: windows, one after the other
//! - `poll`: asking devices and summing their votes
//! - `quantities`: from recipes to bins and back
//! - `judge`: noise, charge and verdict of a window
//! - `mitigation`: the playbook
//! - `calibration`, `builds`, `installs`: int8 builds for each profile, and who runs them
//! - `record`: what is kept on disk

mod actor;
mod builds;
mod calibration;
mod installs;
mod judge;
mod mitigation;
mod poll;
mod quantities;
mod record;

use std::sync::{Arc, Mutex, PoisonError};

use tributary_model::{Digest, Personalisation};
use tributary_proto::v1::{self, InstallReport, SummaryReport};
use tributary_proto::{DeviceId, MonitorId, RunId};

use self::actor::Actor;
use self::installs::Installs;
use self::poll::Polls;
pub(crate) use self::record::MonitorRecord;
use crate::CoordinatorError;
use crate::core::Core;
use crate::engine::{RunState, RunStatus};

/// A way to talk to a monitor. Cheap to clone.
#[derive(Clone)]
pub struct MonitorHandle {
    /// The monitor.
    pub id: MonitorId,
    core: Arc<Core>,
    polls: Arc<Polls>,
    installs: Arc<Installs>,
    view: Arc<Mutex<v1::Monitor>>,
}

/// The id of a run's monitor.
pub fn id_of(run_id: &str) -> String {
    format!("{run_id}-drift")
}

/// The run of a monitor's id.
pub fn run_of(monitor_id: &str) -> &str {
    monitor_id.strip_suffix("-drift").unwrap_or(monitor_id)
}

/// Starts the monitor of a completed run, if its recipe wants one and it does not exist yet.
///
/// # Errors
/// When the recipe's quantities are wrong or the store refuses.
pub async fn start(core: &Arc<Core>, run: &RunState) -> Result<(), CoordinatorError> {
    let id: MonitorId = id_of(run.id.as_str()).parse()?;
    let wanted = run.spec.drift.is_some() && run.status == RunStatus::Completed;
    // one that is on disk is started by `recover`, with the windows that it has judged
    if !wanted || MonitorRecord::exists(core, &id)? {
        return Ok(());
    }
    let heads = matches!(
        run.spec.training.personalisation,
        Some(Personalisation::RegionHeads { .. })
    );
    // each region watches the model that its devices use
    let own: &[Digest] = if heads { &run.variants } else { &[] };
    let record = MonitorRecord::new(core, id, run, run.model, own).await?;
    launch(core, record)
}

/// True when a run has a monitor.
///
/// # Errors
/// When the store can't be read.
pub fn exists(core: &Core, run: &RunId) -> Result<bool, CoordinatorError> {
    MonitorRecord::exists(core, &id_of(run.as_str()).parse()?)
}

/// Goes on with every monitor that is on disk. One that is damaged is set aside.
///
/// # Errors
/// When the store as a whole can't be read.
pub async fn recover(core: &Arc<Core>) -> Result<(), CoordinatorError> {
    for (id, record) in MonitorRecord::all(core)? {
        if let Err(error) = record.and_then(|record| launch(core, record)) {
            core.quarantine.add("monitor", &id, &error);
        }
    }
    Ok(())
}

fn launch(core: &Arc<Core>, record: MonitorRecord) -> Result<(), CoordinatorError> {
    let handle = MonitorHandle {
        id: record.header.id.clone(),
        core: core.clone(),
        polls: Arc::default(),
        installs: Arc::default(),
        view: Arc::new(Mutex::new(record.view(core)?)),
    };
    if core.add_monitor(handle.id.clone(), handle.clone()) {
        let actor = Actor::new(handle, record)?;
        tokio::spawn(actor.run());
    }
    Ok(())
}

impl MonitorHandle {
    /// What the monitor looks like now.
    pub fn view(&self) -> v1::Monitor {
        self.view
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn edit(&self, change: impl FnOnce(&mut v1::Monitor)) {
        change(&mut self.view.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Takes a device's votes.
    pub async fn vote(&self, device: DeviceId, report: SummaryReport) {
        self.polls.vote(&self.core, &device, &report);
    }

    /// Takes the outcome of an offer.
    pub async fn installed(&self, device: DeviceId, report: InstallReport) {
        self.installs.report(&device, &report);
    }

    /// A device is back: what it has not answered is asked again.
    pub async fn connected(&self, device: DeviceId) {
        self.polls.ask_again(&self.core, &device);
        self.installs.offer_again(&self.core, &device);
    }
}
