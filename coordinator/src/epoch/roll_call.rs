//! Who has come back after a start, before anything is charged or released.
//!
//! The folder may have been put back from a copy, and only devices can know. So what goes on after a start
//! first hears them, with what they have kept of it:
//!
//! - A device *speaks* when it shows a ticket at least as new as what the folder knows it to have answered,
//!   or four of other subjects, which are then all newer. One that is known to have answered and shows less
//!   has lost its memory, or hides it.
//! - One that the folder does not know to have answered has nothing to show. It speaks if it was known here
//!   before the start: anybody can enrol a crowd after it.
//! - Whoever shows more than the folder knows halts the coordinator, whether it counts here or not.
//!
//! ```text
//!  everybody has spoken ---------------------------------------------> over
//!  something is open, and all who are named have spoken -------------> over
//!  [`LISTEN`] has passed, and as many as the quorum have spoken -----> over
//!  the longest time has passed, and fewer have ----------------------> late: the owner decides
//! ```
//!
//! A device counts once, so none ends it early, and none that stays away keeps it from being over or late.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use tokio::time::Instant;
use tributary_proto::DeviceId;

use super::{Place, Witness};

/// How long is listened at least while some devices stay away: no device that lost its connection pauses
/// for longer before it tries again.
pub const LISTEN: Duration = Duration::from_secs(10);
/// The least time after which fewer devices than the quorum are enough, or nothing is.
const LONGEST: Duration = Duration::from_secs(30);
/// Different runs and monitors that a device shows tickets of, at the most.
const SHOWN: usize = 4;

/// Whom a run or monitor counts on after a start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roll {
    /// What its tickets name: the run or monitor, and for a monitor its calibrations.
    pub subjects: Vec<String>,
    /// Devices of what is open and of the newest that is over: when all of them have spoken, none of those
    /// that what is open was asked of is missing.
    pub named: BTreeSet<DeviceId>,
    /// Number of devices, enrolled before the start, that it may have asked.
    pub population: usize,
    /// Number of devices that must speak; see [`quorum`]. More than there are is as many as there are.
    pub quorum: usize,
    /// How long the open round or window may last: to wait for less would be hasty.
    pub deadline: Duration,
}

/// What a device says when it comes back.
#[derive(Debug, Clone, Copy)]
pub struct Word<'a> {
    /// The newest place at which it is known to have answered; none if it is not known to have.
    pub answered: Option<Place>,
    /// Its genuine tickets of the present epoch, of all subjects. None of them is newer than what is known.
    pub shown: &'a [Witness],
    /// Whether it was enrolled before the start, as it is now, and may have been asked.
    pub is_settled: bool,
}

/// Where a roll call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing may be charged or released yet.
    Waiting,
    /// Enough have spoken.
    Over,
    /// The longest time has passed, and fewer than the quorum have spoken.
    Late,
}

/// The devices that have spoken since a start.
#[derive(Debug, Clone)]
pub struct RollCall {
    subjects: Vec<String>,
    named: BTreeSet<DeviceId>,
    missing: BTreeSet<DeviceId>,
    spoken: HashSet<DeviceId>,
    everybody: usize,
    quorum: usize,
    longest: Duration,
    /// Since when devices can come back.
    since: Option<Instant>,
}

/// How many devices must speak where the newest release had `newest` contributors, 0 for none, and one may be
/// made with `minimum`: half of them, and never more than are needed to go on anyway.
pub fn quorum(newest: u64, minimum: u64) -> usize {
    let base = if newest > 0 { newest } else { minimum };
    let half = base.div_ceil(2).min(minimum).max(1);
    usize::try_from(half).unwrap_or(usize::MAX)
}

impl RollCall {
    /// Begins; the time runs from the moment that the coordinator serves.
    pub fn new(roll: Roll) -> Self {
        let everybody = roll.population.max(roll.named.len());
        Self {
            subjects: roll.subjects,
            missing: roll.named.clone(),
            named: roll.named,
            spoken: HashSet::new(),
            everybody,
            quorum: roll.quorum.min(everybody),
            longest: roll.deadline.max(LONGEST),
            since: None,
        }
    }

    /// Takes the word of a device that is back, once it is sure that it proves nothing new. True when it
    /// counts, now or before.
    pub fn hear(&mut self, device: &DeviceId, word: Word<'_>) -> bool {
        let is_expected = word.is_settled || self.named.contains(device);
        if !is_expected || !self.speaks(word) {
            return false;
        }
        self.missing.remove(device);
        self.spoken.insert(device.clone());
        true
    }

    fn speaks(&self, word: Word<'_>) -> bool {
        let Some(answered) = word.answered else {
            return true;
        };
        let mine = |witness: &&Witness| self.subjects.contains(&witness.subject);
        let newest = word.shown.iter().filter(mine).map(|shown| shown.place);
        let subjects: BTreeSet<&str> = word
            .shown
            .iter()
            .map(|shown| shown.subject.as_str())
            .collect();
        newest
            .max()
            .map_or(subjects.len() >= SHOWN, |newest| newest >= answered)
    }

    /// Where it stands. Nobody can come back before the coordinator `serves`; `is_open` says that a round
    /// or window of the named devices is under way.
    pub fn stage(&mut self, now: Instant, serves: bool, is_open: bool) -> Stage {
        let all_named = is_open && !self.named.is_empty() && self.missing.is_empty();
        if all_named || self.spoken.len() >= self.everybody {
            return Stage::Over;
        }
        if !serves {
            return Stage::Waiting;
        }
        let since = *self.since.get_or_insert(now);
        let waited = now.saturating_duration_since(since);
        if waited >= LISTEN && self.spoken.len() >= self.quorum {
            return Stage::Over;
        }
        match waited >= self.longest {
            true => Stage::Late,
            false => Stage::Waiting,
        }
    }

    /// Number of devices that have spoken.
    pub fn heard(&self) -> usize {
        self.spoken.len()
    }

    /// Number of devices that must speak.
    pub fn quorum(&self) -> usize {
        self.quorum
    }

    /// How far it is, for people.
    pub fn progress(&self) -> String {
        let (heard, quorum) = (self.heard(), self.quorum());
        match heard < quorum {
            true => format!("{heard} of {quorum} are heard"),
            false => format!(
                "enough are heard ({heard}, needed {quorum}); it listens a few seconds for the others"
            ),
        }
    }

    /// How long devices could come back until `now`.
    pub fn waited(&self, now: Instant) -> Duration {
        let since = self.since.unwrap_or(now);
        now.saturating_duration_since(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::device;

    const SETTLED: Word<'static> = Word {
        answered: None,
        shown: &[],
        is_settled: true,
    };

    fn shown(subject: &str, round: u32) -> Witness {
        Witness {
            epoch: 1,
            subject: subject.to_owned(),
            place: Place::of_round(round, 1),
            incarnation: 1,
            counted: None,
        }
    }

    /// Four devices were in the open round, 20 may have been, and 3 must speak.
    fn roll() -> Roll {
        Roll {
            subjects: vec!["tiny-1".to_owned()],
            named: (0..4).map(device).collect(),
            population: 20,
            quorum: 3,
            deadline: Duration::from_secs(60),
        }
    }

    fn answered(round: u32, shown: &[Witness]) -> Word<'_> {
        Word {
            answered: Some(Place::of_round(round, 1)),
            shown,
            is_settled: true,
        }
    }

    #[test]
    fn a_device_that_is_known_to_have_answered_speaks_by_a_ticket_alone() {
        let mut call = RollCall::new(roll());
        let of_others = ["a-1", "b-1", "c-1", "d-1"].map(|subject| shown(subject, 1));
        let (four, three) = (&of_others[..], &of_others[..3]);
        let (newest, older) = (&[shown("tiny-1", 5)], &[shown("tiny-1", 4)]);
        let again = [1; 4].map(|round| shown("a-1", round));
        for (word, counts, why) in [
            (answered(5, newest), true, "what is known"),
            (answered(5, older), false, "less than is known"),
            (answered(5, &[]), false, "nothing"),
            (answered(5, three), false, "there was room for the run's"),
            (answered(5, &again), false, "there was room for the run's"),
            (answered(5, four), true, "all are newer than the run's"),
            (SETTLED, true, "it has nothing to show"),
        ] {
            assert_eq!(call.hear(&device(1), word), counts, "{why}");
        }
        assert_eq!(call.heard(), 1, "it is one device");
        let newcomer = Word {
            is_settled: false,
            ..SETTLED
        };
        assert!(!call.hear(&device(7), newcomer), "enrolled after the start");
    }

    #[test]
    fn more_than_enough_devices_are_not_told_as_a_share() {
        let mut call = RollCall::new(roll());
        assert_eq!(call.progress(), "0 of 3 are heard");
        for number in 10..13 {
            call.hear(&device(number), SETTLED);
        }
        let progress = call.progress();
        assert!(
            progress.starts_with("enough are heard (3, needed 3)"),
            "{progress}"
        );
    }

    #[test]
    fn one_device_that_is_back_is_no_quorum_and_a_quorum_is_not_hasty() {
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let mut call = RollCall::new(roll());
        assert_eq!(call.stage(begun, false, true), Stage::Waiting);
        // the time runs from here
        assert_eq!(call.stage(after(100), true, true), Stage::Waiting);
        for number in [9, 10] {
            call.hear(&device(number), SETTLED);
            call.hear(&device(number), SETTLED);
        }
        let two = call.stage(after(159), true, true);
        assert_eq!(two, Stage::Waiting, "two of three");
        assert_eq!(call.stage(after(160), true, true), Stage::Late);
        assert_eq!((call.heard(), call.quorum()), (2, 3));
        call.hear(&device(11), SETTLED);
        assert_eq!(call.stage(after(160), true, true), Stage::Over);
        // nor do more than enough end it before its time
        let mut call = RollCall::new(roll());
        assert_eq!(call.stage(begun, true, true), Stage::Waiting);
        for number in (0..19).filter(|number| *number != 3) {
            call.hear(&device(number), SETTLED);
        }
        assert_eq!(call.stage(after(9), true, true), Stage::Waiting);
        assert_eq!(call.stage(begun + LISTEN, true, true), Stage::Over);
    }

    #[test]
    fn it_is_over_at_once_when_nobody_who_may_know_more_is_missing() {
        let now = Instant::now();
        let mut call = RollCall::new(roll());
        for number in 0..4 {
            call.hear(&device(number), SETTLED);
        }
        assert_eq!(call.stage(now, true, true), Stage::Over);
        let between = call.stage(now, true, false);
        assert_eq!(between, Stage::Waiting, "others may know the next round");
        for number in 4..20 {
            call.hear(&device(number), SETTLED);
        }
        assert_eq!(call.stage(now, true, false), Stage::Over);
        let nobody = RollCall::new(Roll::default()).stage(now, false, false);
        assert_eq!(nobody, Stage::Over, "there is nobody to hear");
    }

    #[test]
    fn a_quorum_is_half_of_the_newest_release_and_never_more_than_is_needed_anyway() {
        for (newest, minimum, wanted) in [
            (0, 8, 4),
            (20, 10, 10),
            (20, 4, 4),
            (5, 5, 3),
            (1, 1, 1),
            (0, 0, 1),
        ] {
            assert_eq!(quorum(newest, minimum), wanted, "{newest} {minimum}");
        }
        let few = Roll {
            population: 5,
            quorum: 9,
            ..roll()
        };
        assert_eq!(RollCall::new(few).quorum(), 5, "as many as there are");
    }
}
