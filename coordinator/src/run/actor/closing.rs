//! Devices that do not answer, and the end of a collection.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use tributary_proto::DeviceId;

use super::Actor;
use crate::CoordinatorError;
use crate::engine::{AssignmentState, CloseReason, DropReason, Event, Lease};
use crate::run::journal::DEVICES_PER_EVENT;

/// Attempts in a row that all devices refuse alike before the run fails.
const ALIKE: u32 = 3;
/// How often a round looks for devices that went away.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A seeded round waits so many deadlines for a device that is connected: a busy machine that
/// simulates it is no reason for other bits.
const SEEDED_PATIENCE: u64 = 10;
/// And no less than this, in milliseconds.
const SEEDED_PATIENCE_MS: u64 = 60_000;

impl Actor {
    /// What is told of the reason: under privacy nothing that a device's data may be behind.
    fn told(&self, reason: DropReason) -> DropReason {
        let private = self.state.spec.privacy.mode.has_noise();
        if private && reason.may_tell_of_data() {
            DropReason::NotStated
        } else {
            reason
        }
    }

    /// Whether what a device says of why it gives back is heard. Under privacy a device that has
    /// accepted answers whatever it finds, so one that gives back for a reason that its data may be
    /// behind is none of ours, or lies. It counts as silent, and is asked after others once its lease
    /// has ended, like any that is silent; when an honest device's answer does not come, nothing else
    /// happens. A seeded round, which is not private, waits for nobody whose answer will not come.
    pub(super) fn hears(&self, reason: DropReason) -> bool {
        let spec = &self.state.spec;
        let is_private = spec.privacy.mode.has_noise() && !spec.is_seeded();
        !(is_private && reason.may_tell_of_data())
    }

    /// Events that note who will not answer.
    pub(super) fn dropped(&self, devices: Vec<(DeviceId, DropReason)>) -> Vec<Event> {
        let round = self.state.round.number;
        let mut by_reason: BTreeMap<DropReason, Vec<DeviceId>> = BTreeMap::new();
        for (device, reason) in devices {
            by_reason.entry(self.told(reason)).or_default().push(device);
        }
        let mut events = Vec::new();
        for (reason, devices) in by_reason {
            events.extend(
                devices
                    .chunks(DEVICES_PER_EVENT)
                    .map(|part| Event::Dropped {
                        round,
                        devices: part.to_vec(),
                        reason,
                    }),
            );
        }
        events
    }

    /// Gives up devices that will not answer any more where the round would wait for them: in buffered
    /// rounds those whose leases have ended, so that others are asked; in a seeded round, which closes
    /// when all have answered, those that are away at the deadline.
    pub(super) fn note_silent(&mut self) {
        let seeded = self.state.spec.is_seeded();
        let buffered = self.state.spec.rounds.staleness_cap() > 0;
        if !(seeded || buffered) || Instant::now() < self.next_look {
            return;
        }
        self.next_look = Instant::now() + LOOK_EVERY;
        let now_ms = self.core.clock.service_ms();
        let deadline_ms = self.state.spec.rounds.deadline_ms;
        if seeded && now_ms <= self.resumed_ms.saturating_add(deadline_ms) {
            return; // devices come back after a restart
        }
        for device in self.state.expired(now_ms) {
            if self.collection.is_pending(&device) {
                continue;
            }
            let reason = self.silence(&device);
            let is_here = reason == DropReason::Expired;
            if seeded && is_here && !self.is_past_patience(&device, now_ms) {
                continue;
            }
            self.abandoned.entry(device).or_insert(reason);
        }
    }

    /// Why a device whose lease has ended did not answer.
    fn silence(&self, device: &DeviceId) -> DropReason {
        if self.core.fleet.is_reachable(device) {
            DropReason::Expired
        } else {
            DropReason::ConnectionLost
        }
    }

    fn is_past_patience(&self, device: &DeviceId, now_ms: u64) -> bool {
        let deadline_ms = self.state.spec.rounds.deadline_ms;
        let more = deadline_ms.saturating_mul(SEEDED_PATIENCE - 1);
        let most = |lease: &Lease| lease.until_ms.saturating_add(more.max(SEEDED_PATIENCE_MS));
        let lease = self.state.round.leases.get(device);
        lease.is_none_or(|lease| now_ms > most(lease))
    }

    /// Closes the collection, or gives the attempt up, when it is time. Who has not answered by the
    /// deadline is noted in the same commit.
    pub(super) async fn close_if_due(&mut self) -> Result<(), CoordinatorError> {
        if self.collection.pending() > 0 || self.must_wait() {
            return Ok(());
        }
        let now_ms = self.core.clock.service_ms();
        let Some(reason) = self.state.should_close(now_ms) else {
            return Ok(());
        };
        let round = self.state.round.number;
        let mut events = Vec::new();
        if reason == CloseReason::Deadline {
            let waiting = |lease: &Lease| lease.state == AssignmentState::Waiting;
            let leases = self.state.round.leases.iter();
            let silent = leases
                .filter(|(_, lease)| waiting(lease))
                .map(|(device, _)| {
                    let stated = self.abandoned.get(device).copied();
                    let reason = stated.unwrap_or_else(|| self.silence(device));
                    (device.clone(), reason)
                });
            events = self.dropped(silent.collect());
        }
        events.push(match self.why_not(reason, &events) {
            Some(short) => match self.nobody_can(&events) {
                Some(remedy) => Event::Failed {
                    reason: format!("{short}: {remedy}"),
                },
                None => Event::Aborted {
                    round,
                    reason: short,
                },
            },
            None => Event::Closed { round, reason },
        });
        self.commit(events).await
    }

    /// Why the round can't be released with what it has; none when it can.
    fn why_not(&self, reason: CloseReason, dropped: &[Event]) -> Option<String> {
        if let Some(missing) = self.misses_trusted() {
            return Some(missing);
        }
        let counted = self.state.round.counted();
        let minimum = self.state.spec.rounds.minimum();
        if counted >= minimum as usize {
            return None;
        }
        let why = match reason {
            CloseReason::Deadline => "the deadline passed",
            _ => "every device answered",
        };
        Some(too_few(why, counted, minimum, &self.drops_with(dropped)))
    }

    /// What to do when attempt after attempt all devices refuse for what they are made for, as many as are
    /// enrolled; none while another attempt may do better.
    fn nobody_can(&self, dropped: &[Event]) -> Option<&'static str> {
        let state = &self.state;
        let (refusal, mut devices) = alike(&self.drops_with(dropped), state.round.counted())?;
        let mut attempts = 1;
        for past in state.history.iter().rev() {
            let counted: u64 = past.counted.iter().sum();
            match alike(&past.drops, counted as usize) {
                Some((same, more)) if same == refusal && past.number == state.round.number => {
                    (attempts, devices) = (attempts + 1, devices + more);
                }
                _ => break,
            }
        }
        let regions = state.spec.regions.iter();
        let fleet = &self.core.fleet;
        let known = regions.map(|region| fleet.enrolled(region, &state.spec.task));
        let everybody = attempts >= ALIKE && devices >= known.sum::<u64>();
        everybody.then(|| mend(refusal)).flatten()
    }

    /// Why assignments of the attempt came to nothing, those of `coming` included.
    fn drops_with(&self, coming: &[Event]) -> BTreeMap<DropReason, u64> {
        let mut drops = self.state.round.drops.clone();
        for event in coming {
            if let Event::Dropped {
                devices, reason, ..
            } = event
            {
                *drops.entry(*reason).or_default() += devices.len() as u64;
            }
        }
        drops
    }
}

/// The reason, and the devices, of an attempt that came to nothing because all that were asked are not made for it.
fn alike(drops: &BTreeMap<DropReason, u64>, counted: usize) -> Option<(DropReason, u64)> {
    let (reason, devices) = drops.first_key_value()?;
    let is_alone = drops.len() == 1 && counted == 0;
    (is_alone && mend(*reason).is_some()).then_some((*reason, *devices))
}

/// The remedy for what no attempt changes; none for other reasons.
fn mend(reason: DropReason) -> Option<&'static str> {
    match reason {
        DropReason::UnknownTask => Some("no device holds data of the task: mend the recipe's task"),
        DropReason::ModelMismatch => {
            Some("no device's data fit the model: mend the recipe's model.input, and its classes")
        }
        DropReason::Unsupported => {
            Some("no device knows all of the plan: update the devices, or leave out what is new")
        }
        _ => None,
    }
}

/// What is said of a round that has too few contributions.
fn too_few(why: &str, counted: usize, minimum: u32, drops: &BTreeMap<DropReason, u64>) -> String {
    let one = |(reason, count): (&DropReason, &u64)| format!("{} {count}", reason.words());
    let words: Vec<String> = drops.iter().map(one).collect();
    let words = match words.is_empty() {
        true => String::new(),
        false => format!(" ({})", words.join(", ")),
    };
    let remedy = match drops.contains_key(&DropReason::Limit) {
        true => {
            ": devices took part as often as rounds.max_participations and rounds.min_separation let \
             them; start more devices, raise the one, or lower the other or rounds.minimum"
        }
        false => "",
    };
    format!("{why} with {counted} contributions, fewer than {minimum}{words}{remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_lacks_devices_under_their_limit_names_the_limit_and_the_remedy() {
        let drops = |reason| BTreeMap::from([(reason, 291)]);
        let said = too_few("every device answered", 661, 800, &drops(DropReason::Limit));
        for part in ["661", "800 (limit 291)", "raise the one", "more devices"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(said.contains("rounds.max_participations"), "{said}");
        let said = too_few("the deadline passed", 1, 2, &drops(DropReason::Slow));
        assert_eq!(
            said,
            "the deadline passed with 1 contributions, fewer than 2 (slow 291)"
        );
    }
}
