//! What a monitor hears after a start of the coordinator, before it asks, charges or releases anything.
//!
//! Its devices are heard like those of a run ([`RollCall`]): who was charged for its votes speaks by a ticket
//! of the monitor. Nothing is open that could be given up. So when too few have come back in the longest time
//! it goes on: each window asks as many devices as it needs, and each of them is heard before it is within
//! reach.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tributary_proto::DeviceId;

use super::MonitorHandle;
use super::actor::Actor;
use super::record::{Header, MonitorRecord};
use crate::core::Core;
use crate::epoch::{Place, Roll, RollCall, Stage, Witness, Word, calibrations_of, quorum};
use crate::ledger::ChargeKind;
use tributary_recipe::RunSpec;

/// How often is looked who has come.
const LOOK: Duration = Duration::from_millis(50);

/// Whom a monitor hears that is begun before the coordinator serves; nobody when it has nothing to protect.
pub fn after_start(core: &Core, record: &MonitorRecord) -> Option<RollCall> {
    let Header { id, spec, end, .. } = &record.header;
    let is_start = !core.telemetry.is_ready();
    if !is_start || end.is_some() || !protects(spec) {
        return None;
    }
    let population = core.fleet.population(&spec.regions, &spec.task);
    let drift = spec.drift.as_ref();
    let window = drift.map(|drift| u64::from(drift.minimum_devices));
    let window = window.map(|devices| devices.saturating_mul(spec.regions.len() as u64));
    let everybody = population as u64;
    Some(RollCall::new(Roll {
        subjects: vec![id.to_string(), calibrations_of(id.as_str())],
        population,
        quorum: quorum(everybody, window.unwrap_or(everybody)),
        deadline: Duration::from_millis(drift.map_or(0, |drift| drift.deadline_ms)),
        ..Roll::default()
    }))
}

/// Whether any noise of the monitor would be void if it were drawn again.
fn protects(spec: &RunSpec) -> bool {
    let votes = spec.drift.as_ref().map_or(0.0, |drift| drift.noise_votes);
    let ranges = spec.builds.as_ref();
    let ranges = ranges.map_or(0.0, |builds| builds.calibration_noise_votes);
    !spec.is_seeded() && (votes > 0.0 || ranges > 0.0)
}

impl MonitorHandle {
    fn listening(&self) -> MutexGuard<'_, Option<(RunSpec, RollCall)>> {
        self.listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a device shows that is back: its tickets of the present epoch, of which none is newer than
    /// what is known.
    pub(super) fn hear(&self, core: &Core, device: &DeviceId, witnesses: &[Witness]) {
        let mut listening = self.listening();
        let Some((spec, call)) = listening.as_mut().filter(|_| !core.halt.is_halted()) else {
            return;
        };
        let kinds = [ChargeKind::Drift, ChargeKind::Calibration];
        let has_voted = core.ledger.was_charged(device, self.id.as_str(), &kinds);
        let word = Word {
            answered: has_voted.then(|| Place::of_window(1)),
            shown: witnesses,
            is_settled: core.fleet.is_settled(device, &spec.regions, &spec.task),
        };
        call.hear(device, word);
    }

    /// What it still waits for, as a sentence; none when it may go on.
    fn unheard(&self, core: &Core) -> Option<String> {
        if let Some(reason) = core.halt.reason() {
            return Some(reason);
        }
        let mut listening = self.listening();
        let (_, call) = listening.as_mut()?;
        let stage = call.stage(Instant::now(), core.telemetry.is_ready(), false);
        if stage == Stage::Waiting {
            let progress = call.progress();
            return Some(format!("waits for its devices after the start: {progress}"));
        }
        if stage == Stage::Late {
            let (heard, wanted) = (call.heard(), call.quorum());
            tracing::warn!(monitor = %self.id, heard, wanted, "too few devices were heard since the start; it goes on with those that are there");
        }
        *listening = None;
        None
    }
}

impl Actor {
    /// Waits until enough devices were heard since the start, or the monitor is stopped. A coordinator that
    /// is halted meanwhile goes no further.
    pub(super) async fn listen(&self) {
        while let Some(reason) = self.handle.unheard(self.core()) {
            self.handle.waits_for(reason);
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.handle.stop.cancelled() => break,
            }
        }
        self.handle.waits_for(String::new());
    }
}
