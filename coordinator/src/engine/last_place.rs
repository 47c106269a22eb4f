//! Where a device took part last: what a receipt of it is compared with once its lease is gone.
//!
//! A receipt names the place of its order. Whoever is in a sealed segment is noted when the attempt ends, be it
//! published, given up, or cut off by the end of the run; under local noise already when it is asked. What is
//! noted is the place of the attempt that the update was counted in, which is that of the order or, in a
//! buffered run, a later one. So a device whose last place is before the order of a receipt was never counted
//! for that order, as far as this state knows: it knows less than it did. The reverse proves nothing.
//!
//! A device is asked only when it has no lease, in an attempt that has not begun to collect: its last place is
//! then before the order's, and only being counted moves it there. So a receipt that is lost stays recognised
//! until the device is counted again.

use tributary_proto::DeviceId;

use super::{Participation, RunState};
use crate::lineage::Place;

/// The place of the last attempt that a device is known to be in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LastPlace {
    /// 0 for none.
    round: u32,
    /// 0 where it is not known.
    attempt: u32,
}

impl LastPlace {
    /// Whether an update for an order at `place` can't be among those that are known. Where the attempt is not
    /// known, it may be any of its round.
    pub fn is_before(self, place: Place) -> bool {
        match self.attempt {
            0 => u64::from(self.round) < place.number,
            attempt => Place::of_round(self.round, attempt) < place,
        }
    }
}

impl Participation {
    /// Where the device took part last.
    pub fn last_place(&self) -> LastPlace {
        LastPlace {
            round: self.last_round,
            attempt: self.last_attempt,
        }
    }
}

impl RunState {
    /// Where a device took part last in an attempt that is over; under local noise, where it was asked last.
    pub fn last_place(&self, device: &DeviceId) -> LastPlace {
        let past = self.participations.get(device);
        past.map_or_else(LastPlace::default, Participation::last_place)
    }

    /// The place up to which the participations of a run that is over name everybody who was counted for an
    /// order before it; none where all of them are named.
    ///
    /// Before the end of a run noted its open round, that round was forgotten. In a buffered run orders of any
    /// earlier round may have been counted in it.
    pub fn forgotten_from(&self) -> Option<Place> {
        let is_whole = self.keeps_last || self.status == super::RunStatus::Completed;
        let from = match self.spec.rounds.staleness_cap() {
            0 => self.place(),
            _ => Place::of_round(0, 0),
        };
        (!is_whole).then_some(from)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{
        apply_all, assigned, closed, collecting, published, sealed, selected,
    };
    use super::super::{Event, RunStatus};
    use super::*;
    use crate::fixtures::{device, plain_spec};

    fn aborted(round: u32) -> Event {
        Event::Aborted {
            round,
            reason: String::new(),
        }
    }

    fn release(round: u32) -> [Event; 3] {
        let charged = Event::Charged {
            round,
            pico_rho: 0,
            worst_pico_rho: 0,
        };
        [closed(round), charged, published(round)]
    }

    #[test]
    fn the_attempt_of_the_last_participation_is_kept_be_it_published_or_given_up() {
        let mut state = collecting(plain_spec());
        apply_all(&mut state, &[sealed(1, &[0, 2]), aborted(1)]);
        apply_all(&mut state, &[selected(1, assigned([0, 4]))]);
        apply_all(&mut state, &[sealed(1, &[0, 4])]);
        apply_all(&mut state, &release(1));
        let at = |number| state.last_place(&device(number));
        let place = |attempt| LastPlace { round: 1, attempt };
        assert_eq!([at(0), at(2), at(4)], [place(2), place(1), place(2)]);
        assert_eq!(at(1), LastPlace::default(), "it was not counted");
        assert!(at(2).is_before(Place::of_round(1, 2)) && !at(0).is_before(Place::of_round(1, 2)));
    }

    #[test]
    fn the_end_of_a_run_notes_who_was_counted_in_its_open_round() {
        let failed = Event::Failed {
            reason: "tested".to_owned(),
        };
        for end in [Event::Stopped, failed] {
            let mut state = collecting(plain_spec());
            assert!(!state.keeps_last);
            apply_all(&mut state, &[sealed(1, &[0, 2]), end]);
            assert_ne!(state.status, RunStatus::Running);
            let past = state.participations[&device(0)];
            assert_eq!((past.count, past.given_up, past.last_attempt), (0, 1, 1));
            assert!(state.keeps_last && state.round.segments.is_empty());
            assert_eq!(state.forgotten_from(), None);
        }
    }

    #[test]
    fn what_a_run_of_before_has_forgotten_is_told_from_what_it_knows() {
        let mut state = collecting(plain_spec());
        apply_all(&mut state, &[sealed(1, &[0, 2])]);
        apply_all(&mut state, &release(1));
        (state.status, state.keeps_last) = (RunStatus::Stopped, false);
        assert_eq!(state.forgotten_from(), Some(Place::of_round(2, 1)));
        state.spec.rounds.staleness_cap = Some(2);
        assert_eq!(state.forgotten_from(), Some(Place::of_round(0, 0)));
        state.status = RunStatus::Completed;
        assert_eq!(state.forgotten_from(), None);
    }

    #[test]
    fn a_record_of_before_attempts_were_kept_is_compared_by_rounds() {
        let record = r#"{"count":1,"last_round":3}"#;
        let past: Participation = serde_json::from_str(record).unwrap();
        let last = past.last_place();
        assert!(!last.is_before(Place::of_round(3, 9)) && last.is_before(Place::of_round(4, 1)));
    }
}
