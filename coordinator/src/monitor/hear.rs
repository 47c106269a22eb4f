//! What a monitor hears after a start of the coordinator.

use std::sync::{MutexGuard, PoisonError};

use tokio::time::Instant;
use tributary_proto::DeviceId;

use super::handle::MonitorHandle;
use crate::core::Core;
use crate::epoch::{Place, RollCall, Stage, Witness, Word};
use crate::ledger::ChargeKind;
use tributary_recipe::RunSpec;

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
    pub(super) fn unheard(&self, core: &Core) -> Option<String> {
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
