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
//! A window is asked only where its answers can be judged: with as many devices as the noise and the
//! reference need, which both are known before. It ends after the recipe's windows or by an operator's
//! `tributary monitor stop`, and then leaves memory; its record and its last windows stay on disk.
//!
//! - `actor`: the life of a monitor; `window`: one window of it
//! - `poll`: asking devices and summing their votes
//! - `listening`: what is heard after a start, before anything is asked, charged or released
//! - `quantities`: from recipes to bins and back
//! - `judge`: noise and price of votes; `charging`: who pays
//! - `mitigation`: the playbook; `playbooks`: those that are under way
//! - `calibration`, `builds`, `installs`: int8 builds for each profile, and who runs them
//! - `first_builds`: builds of the run's own model, where no playbook makes them
//! - `space`: a disk without room; `supervise`: a crash stays in its monitor;
//!   `unstarted`: monitors that are set aside
//! - `record`: what is kept on disk; `numbers`: of calibrations; `history`: the windows of it; `view`: what operators see

mod actor;
mod builds;
mod calibration;
mod charging;
mod first_builds;
mod history;
mod installs;
mod judge;
mod listening;
mod mitigation;
mod numbers;
mod playbooks;
mod poll;
mod quantities;
mod record;
mod space;
mod supervise;
mod unstarted;
mod view;
mod window;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tributary_model::{Digest, Personalisation};
use tributary_proto::v1::{self, InstallReport, SummaryReport};
use tributary_proto::{DeviceId, MonitorId, RunId};

use self::actor::Actor;
pub use self::calibration::calibration_pico_rho;
use self::history::Page;
use self::installs::Installs;
pub use self::judge::window_pico_rho;
pub use self::mitigation::playbook_recipe;
use self::poll::Polls;
pub(crate) use self::record::MonitorRecord;
use self::supervise::supervise;
pub use self::unstarted::problem_of;
use self::unstarted::{all_set_aside, give_up, set_aside};
use crate::CoordinatorError;
use crate::core::Core;
use crate::engine::{RunState, RunStatus};
use crate::epoch::{RollCall, Witness};
use crate::names::{monitor_of, run_of};
use tributary_recipe::RunSpec;

/// A way to talk to a monitor. Cheap to clone.
#[derive(Clone)]
pub struct MonitorHandle {
    /// The monitor.
    pub id: MonitorId,
    polls: Arc<Polls>,
    installs: Arc<Installs>,
    view: Arc<Mutex<Shown>>,
    stop: CancellationToken,
    over: watch::Sender<bool>,
    listening: Arc<Mutex<Option<(RunSpec, RollCall)>>>,
}

/// A monitor at work: its handle with the core. The core keeps handles alone, so that it does not keep
/// itself alive.
#[derive(Clone)]
struct Monitor {
    core: Arc<Core>,
    handle: MonitorHandle,
}

impl std::ops::Deref for Monitor {
    type Target = MonitorHandle;

    fn deref(&self) -> &MonitorHandle {
        &self.handle
    }
}

/// What is shown of a monitor, and where its windows end.
#[derive(Debug, Clone)]
struct Shown {
    monitor: v1::Monitor,
    next_window: u64,
    /// What it waits for; empty when it goes on.
    waits: String,
}

impl Shown {
    fn of(record: &MonitorRecord) -> Self {
        Self {
            monitor: record.view(),
            next_window: record.header.next_window,
            waits: String::new(),
        }
    }

    /// The monitor without its windows.
    fn monitor(&self) -> v1::Monitor {
        let mut monitor = self.monitor.clone();
        if !self.waits.is_empty() {
            monitor.reason.clone_from(&self.waits);
        }
        monitor
    }

    fn with_windows(self, core: &Core, page: Page) -> Result<v1::Monitor, CoordinatorError> {
        let id: MonitorId = self.monitor.monitor_id.parse()?;
        let (windows, earlier_windows) = history::read(core, &id, self.next_window, page)?;
        Ok(v1::Monitor {
            windows,
            earlier_windows,
            ..self.monitor()
        })
    }
}

/// Monitors that have ended and are listed without being asked for by name.
const ENDED_LISTED: usize = 100;

/// Starts the monitor of a completed run, if its recipe wants one and it does not exist yet.
///
/// # Errors
/// When the recipe's quantities are wrong or the store refuses.
pub async fn start(core: &Arc<Core>, run: &RunState) -> Result<(), CoordinatorError> {
    let id: MonitorId = monitor_of(run.id.as_str()).parse()?;
    let wanted = run.spec.is_monitored() && run.status == RunStatus::Completed;
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
    MonitorRecord::exists(core, &monitor_of(run.as_str()).parse()?)
}

/// Goes on with every monitor on disk that has not ended. One that is damaged is set aside.
///
/// # Errors
/// When the store as a whole can't be read.
pub async fn recover(core: &Arc<Core>) -> Result<(), CoordinatorError> {
    for (id, record) in MonitorRecord::all(core, b"")? {
        if record
            .as_ref()
            .is_ok_and(|record| record.header.end.is_some())
        {
            // a crash may have come between the end and this
            core.ledger.release(run_of(&id), None).await?;
        }
        let launched = record.and_then(|record| match record.header.end {
            None => launch(core, record),
            Some(_) => Ok(()),
        });
        if let Err(error) = launched {
            core.quarantine.add("monitor", &id, &error);
        }
    }
    Ok(())
}

fn launch(core: &Arc<Core>, record: MonitorRecord) -> Result<(), CoordinatorError> {
    let roll_call = listening::after_start(core, &record);
    let roll_call = roll_call.map(|call| (record.header.spec.clone(), call));
    let handle = MonitorHandle {
        id: record.header.id.clone(),
        polls: Arc::default(),
        installs: Arc::default(),
        view: Arc::new(Mutex::new(Shown::of(&record))),
        stop: CancellationToken::new(),
        over: watch::Sender::new(false),
        listening: Arc::new(Mutex::new(roll_call)),
    };
    let monitor = Monitor {
        core: core.clone(),
        handle: handle.clone(),
    };
    // first: what can't be begun must not be known as one that is at work
    let actor = Actor::new(monitor.clone(), record)?;
    if core.add_monitor(handle.id.clone(), handle) {
        tokio::spawn(supervise(monitor, actor));
    }
    Ok(())
}

/// Monitors as operators see them, in the order of their ids: that of a run, or all that are at work or set
/// aside, and those that ended last.
///
/// # Errors
/// When the store can't be read.
pub fn list(
    core: &Core,
    only_run: Option<&RunId>,
    rows: Option<u32>,
    before: u64,
) -> Result<Vec<v1::Monitor>, CoordinatorError> {
    let page = Page::of(rows, before);
    let with_windows = |shown: Shown| shown.with_windows(core, page);
    let Some(run) = only_run else {
        let mut monitors = all_set_aside(core);
        for shown in all_shown(core)? {
            monitors.push(with_windows(shown)?);
        }
        monitors.sort_by(|a, b| a.monitor_id.cmp(&b.monitor_id));
        return Ok(monitors);
    };
    let id: MonitorId = monitor_of(run.as_str()).parse()?;
    if let Some(monitor) = set_aside(core, &id) {
        return Ok(vec![monitor]);
    }
    find(core, &id)?.into_iter().map(with_windows).collect()
}

fn find(core: &Core, id: &MonitorId) -> Result<Option<Shown>, CoordinatorError> {
    match core.monitor(id) {
        Some(monitor) => Ok(Some(monitor.shown())),
        None => Ok(MonitorRecord::find(core, id)?.as_ref().map(Shown::of)),
    }
}

fn all_shown(core: &Core) -> Result<Vec<Shown>, CoordinatorError> {
    let mut ended: Vec<MonitorRecord> = MonitorRecord::all(core, b"")?
        .into_iter()
        // damaged ones are set aside
        .filter_map(|(_, record)| record.ok())
        .filter(|record| record.header.end.is_some())
        .collect();
    ended.sort_by_key(|record| {
        let end = record.header.end.as_ref();
        std::cmp::Reverse(end.map_or(0, |end| end.unix_ms))
    });
    ended.truncate(ENDED_LISTED);
    let mut shown: Vec<Shown> = ended.iter().map(Shown::of).collect();
    // one that ended between the two reads is in both
    for monitor in core.monitors() {
        if !ended.iter().any(|record| record.header.id == monitor.id) {
            shown.push(monitor.shown());
        }
    }
    Ok(shown)
}

/// Ends a monitor, named by its id or its run's; answers when its end is on disk.
///
/// # Errors
/// When it is not known, or the coordinator stops meanwhile.
pub async fn stop(core: &Core, name: &str) -> Result<v1::Monitor, CoordinatorError> {
    let named: MonitorId = name.parse()?;
    let of_run: MonitorId = monitor_of(run_of(name)).parse()?;
    for id in [&named, &of_run] {
        if let Some(monitor) = core.monitor(id) {
            monitor.end().await?;
        }
        if let Some(set_aside) = give_up(core, id).await? {
            return Ok(set_aside);
        }
        if let Some(shown) = find(core, id)? {
            return Ok(shown.monitor());
        }
    }
    Err(CoordinatorError::unknown(
        "monitor",
        name,
        "see `tributary monitor ls` for the ids",
    ))
}

impl MonitorHandle {
    fn shown(&self) -> Shown {
        self.view
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Shows what the record says now.
    fn show(&self, record: &MonitorRecord) {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        // a run that a playbook has started is known before its outcome is in the record
        let started: Vec<String> = view
            .monitor
            .regions
            .iter()
            .map(|region| region.mitigation_run_id.clone())
            .collect();
        let waits = std::mem::take(&mut view.waits);
        *view = Shown {
            waits,
            ..Shown::of(record)
        };
        for (index, run) in started.into_iter().enumerate() {
            if record.is_mitigating(index) {
                view.monitor.regions[index].mitigation_run_id = run;
            }
        }
    }

    fn edit(&self, change: impl FnOnce(&mut v1::Monitor)) {
        change(
            &mut self
                .view
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .monitor,
        );
    }

    /// Shows what it waits for; nothing for an empty sentence.
    fn waits_for(&self, reason: String) {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        view.waits = reason;
    }

    /// Asks the monitor to end and waits until its end is on disk.
    async fn end(&self) -> Result<(), CoordinatorError> {
        self.stop.cancel();
        let mut over = self.over.subscribe();
        // true as well once it is set aside; the sender is this handle's, so nothing else ends the wait
        let ended = over.wait_for(|over| *over).await;
        ended.map(drop).map_err(|_| CoordinatorError::Stopping)
    }

    /// Takes a device's votes.
    pub fn vote(&self, core: &Core, device: &DeviceId, report: &SummaryReport) {
        self.polls.vote(core, device, report);
    }

    /// Takes a device's word that it can't vote in a window.
    pub async fn declined(&self, device: DeviceId, window: u64) {
        self.polls.decline(&device, window);
    }

    /// Takes the outcome of an offer.
    pub fn installed(&self, device: &DeviceId, report: &InstallReport) {
        self.installs.report(device, report);
    }

    /// A device is back and shows its tickets of the present epoch: what it has not answered is asked again.
    pub fn connected(&self, core: &Core, device: &DeviceId, witnesses: &[Witness]) {
        self.hear(core, device, witnesses);
        self.polls.ask_again(core, device);
        self.installs.offer_again(core, device);
    }
}
