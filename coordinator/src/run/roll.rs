//! Whom a run hears after a start of the coordinator, before it selects, charges or releases anything.

use std::time::Duration;

use crate::core::Core;
use crate::engine::{AssignmentState, RunState};
use crate::epoch::{Roll, RollCall, Word, quorum};

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
