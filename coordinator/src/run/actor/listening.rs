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
use crate::core::Core;
use crate::engine::{AssignmentState, Event, Phase, RunState, Unheard};
use crate::epoch::{Roll, RollCall, Stage, Witness, Word, quorum};

/// So long after a start of the coordinator new runs listen, too: most devices have come back by then.
const SOON: Duration = Duration::from_secs(60);

/// Whom a run hears after a start of the coordinator; none in a run that has nothing to protect.
pub fn after_start(core: &Core, state: &RunState) -> Option<RollCall> {
    let protects = state.spec.privacy.mode.has_noise() && !state.spec.is_seeded();
    (state.is_running() && protects).then(|| RollCall::new(roll(core, state)))
}

/// Whom a run hears that is started anew, soon after the coordinator: in a folder that was put back it may be
/// another run of the same name, or of devices that spent more than is known. Later than that who is within
/// reach was heard.
pub fn soon_after_start(core: &Core, state: &RunState) -> Option<RollCall> {
    let served = core.telemetry.health.has_served();
    let is_soon = served.is_none_or(|served| served < SOON);
    let mut call = is_soon.then(|| after_start(core, state)).flatten()?;
    let (fleet, spec) = (&core.fleet, &state.spec);
    let regions = spec.regions.iter();
    // whoever is back already was compared with all that is known, and the run is new to it
    for device in regions.flat_map(|region| fleet.reachable(region, &spec.task)) {
        let word = Word {
            answered: None,
            shown: &[],
            is_settled: fleet.is_settled(&device, &spec.regions, &spec.task),
        };
        call.hear(&device, word);
    }
    Some(call)
}

fn roll(core: &Core, state: &RunState) -> Roll {
    let spec = &state.spec;
    let leases = state.round.leases.iter();
    let open = leases.filter(|(_, lease)| lease.state != AssignmentState::Dropped);
    let last = state.participations.values().map(|past| past.last_round);
    let last = last.max().unwrap_or(0);
    let past = state.participations.iter();
    let recent = past.filter(|(_, past)| last > 0 && past.last_round == last);
    let released = state.history.iter().rev();
    let released = released.filter(|record| record.model.is_some());
    let newest = released.map(|record| record.counted.iter().sum()).next();
    Roll {
        subjects: vec![state.id.to_string()],
        named: open
            .map(|(device, _)| device.clone())
            .chain(recent.map(|(device, _)| device.clone()))
            .collect(),
        population: core.fleet.population(&spec.regions, &spec.task),
        quorum: quorum(newest.unwrap_or(0), spec.rounds.minimum().into()),
        deadline: Duration::from_millis(spec.rounds.deadline_ms),
    }
}

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
