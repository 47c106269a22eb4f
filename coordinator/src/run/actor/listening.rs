//! What a run that goes on after a start hears before it selects, charges or releases anything.
//!
//! The folder may have been put back from a copy, and only devices can know. So a run with noise first hears
//! those that it counts on ([`RollCall`]). When too few of them come back:
//!
//! | where the round stands | what happens |
//! |---|---|
//! | nothing was charged for it | it is given up, which releases nothing |
//! | charged, nobody has spoken | it waits as long as a selection may, then the run fails: other noise on a sum that may have been released is no risk that a run takes unheard |
//! | charged, somebody has spoken; devices are being chosen; the devices add the noise | it goes on, and the round says how many were heard |

use std::time::Duration;

use tokio::time::Instant;
use tributary_proto::DeviceId;

use super::Actor;
use crate::CoordinatorError;
use crate::engine::{Event, Phase, Unheard};
use crate::epoch::{RollCall, Stage, Witness, Word};

impl Actor {
    /// Takes what a device shows: halts the coordinator when it proves more of this run than is known, else
    /// notes that the device is heard. `witnesses` are its tickets of the present epoch, of all subjects.
    pub(super) async fn hear(&mut self, device: &DeviceId, witnesses: &[Witness]) {
        let id = self.state.id.as_str();
        let mut mine = witnesses.iter().filter(|witness| witness.subject == id);
        if let Some(proof) = mine.find(|proof| self.state.contradicts(device, proof)) {
            self.core.halt_for(proof).await;
        }
        if self.core.halt.is_halted() {
            return;
        }
        let spec = &self.state.spec;
        let word = Word {
            answered: self.state.answered_by(device),
            shown: witnesses,
            is_settled: self
                .core
                .fleet
                .is_settled(device, &spec.regions, &spec.task),
        };
        if let Some(call) = &mut *self.ends.listening() {
            call.hear(device, word);
        }
    }

    /// True while nothing may be selected, charged or released.
    pub(super) fn must_wait(&mut self) -> bool {
        if let Some(reason) = self.core.halt.reason() {
            self.say(reason);
            return true;
        }
        let Some((stage, _)) = self.roll_call() else {
            return false;
        };
        if stage == Stage::Over {
            self.end_listening();
            return false;
        }
        let progress = self.ends.listening().as_ref().map(RollCall::progress);
        self.say(format!(
            "round {} waits for its devices after the start: {}",
            self.state.round.number,
            progress.unwrap_or_default()
        ));
        true
    }

    /// Where the roll call stands, if there is one.
    fn roll_call(&self) -> Option<(Stage, Unheard)> {
        let mut listening = self.ends.listening();
        let call = listening.as_mut()?;
        let is_open = self.state.round.phase != Phase::Selecting;
        let serves = self.core.telemetry.is_ready();
        let stage = call.stage(Instant::now(), serves, is_open);
        let count = Unheard {
            heard: call.heard() as u64,
            wanted: call.quorum() as u64,
        };
        Some((stage, count))
    }

    fn end_listening(&mut self) {
        *self.ends.listening() = None;
        self.say(String::new());
    }

    /// Shows a reason, once.
    fn say(&mut self, reason: String) {
        if self.reason != reason {
            self.reason = reason;
            self.show();
        }
    }

    /// Decides what becomes of a round for which too few devices have come back since the start.
    pub(super) async fn decide_unheard(&mut self) -> Result<(), CoordinatorError> {
        let late = self.roll_call().filter(|(stage, _)| *stage == Stage::Late);
        let Some((_, count)) = late.filter(|_| !self.core.halt.is_halted()) else {
            return Ok(());
        };
        let (phase, round) = (self.state.round.phase, self.state.round.number);
        let noised_there = self.state.spec.privacy.is_charged_when_asked();
        let event = match phase {
            Phase::Collecting | Phase::Sealing if !noised_there => Event::Aborted {
                round,
                reason: format!("{count}: what was released before can't be known"),
            },
            Phase::Releasing if !noised_there && count.heard == 0 => {
                if !self.has_waited_for_a_selection() {
                    return Ok(());
                }
                let reason = format!(
                    "{count}, so nobody knows whether round {round} was released already: \
                     nothing more is; start a new run from its newest version"
                );
                Event::Failed { reason }
            }
            _ => Event::Unheard { round, count },
        };
        tracing::warn!(run = %self.state.id, round, ?phase, "{count}");
        self.commit(vec![event]).await?;
        self.end_listening();
        Ok(())
    }

    /// True when devices could come back for as long as a round may wait for them.
    fn has_waited_for_a_selection(&self) -> bool {
        let most = Duration::from_millis(self.state.spec.rounds.selection_timeout_ms);
        let listening = self.ends.listening();
        let waited = listening.as_ref().map(|call| call.waited(Instant::now()));
        waited.is_none_or(|waited| waited >= most)
    }
}
