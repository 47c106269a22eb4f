//! A way to talk to a monitor.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tributary_proto::v1::{self, InstallReport, SummaryReport};
use tributary_proto::{DeviceId, MonitorId};

use super::installs::Installs;
use super::poll::Polls;
use super::record::MonitorRecord;
use super::shown::Shown;
use crate::CoordinatorError;
use crate::core::Core;
use crate::epoch::{RollCall, Witness};
use tributary_recipe::RunSpec;

/// A way to talk to a monitor. Cheap to clone.
#[derive(Clone)]
pub struct MonitorHandle {
    /// The monitor.
    pub id: MonitorId,
    pub(super) polls: Arc<Polls>,
    pub(super) installs: Arc<Installs>,
    pub(super) view: Arc<Mutex<Shown>>,
    pub(super) stop: CancellationToken,
    pub(super) over: watch::Sender<bool>,
    pub(super) listening: Arc<Mutex<Option<(RunSpec, RollCall)>>>,
}

impl MonitorHandle {
    pub(super) fn shown(&self) -> Shown {
        self.view
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Shows what the record says now.
    pub(super) fn show(&self, record: &MonitorRecord) {
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

    pub(super) fn edit(&self, change: impl FnOnce(&mut v1::Monitor)) {
        change(
            &mut self
                .view
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .monitor,
        );
    }

    /// Shows what it waits for; nothing for an empty sentence.
    pub(super) fn waits_for(&self, reason: String) {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        view.waits = reason;
    }

    /// Asks the monitor to end and waits until its end is on disk.
    pub(super) async fn end(&self) -> Result<(), CoordinatorError> {
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
