//! Which start of the coordinator gave which orders.
//!
//! A data folder that is put back from a copy catches up: after a while it knows a round 24 again, or a run
//! of the same name. What tells the two rounds apart is the *incarnation*, a random number of each start.
//! It is kept with the first order that is given under it, and sealed into what devices are given.

use serde::{Deserialize, Serialize};

/// A round with its attempt, or a window or calibration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The round, window or calibration.
    pub number: u64,
    /// The attempt at a round, from 1; else 0.
    pub attempt: u32,
}

impl Place {
    /// An attempt at a round.
    pub fn of_round(round: u32, attempt: u32) -> Self {
        Self {
            number: round.into(),
            attempt,
        }
    }

    /// A window or a calibration.
    pub fn of_window(number: u64) -> Self {
        Self { number, attempt: 0 }
    }
}

/// The incarnations under which the orders of a run or monitor were given: one entry for each start in
/// which it ordered anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lineage(Vec<(Place, u64)>);

impl Lineage {
    /// Notes that devices are asked at `place`, later than before. 0 stands for an incarnation that is not
    /// known, as in records of before there were any.
    pub fn note(&mut self, place: Place, incarnation: u64) {
        let last = self.0.last();
        let is_later = last.is_none_or(|(from, _)| *from < place);
        if is_later && last.map_or(0, |(_, last)| *last) != incarnation {
            self.0.push((place, incarnation));
        }
    }

    /// Under which incarnation devices were asked at `place`, which is one that is known; 0 where that was
    /// not noted.
    pub fn of(&self, place: Place) -> u64 {
        let begun = self.0.partition_point(|(from, _)| *from <= place);
        let entry = begun.checked_sub(1).and_then(|last| self.0.get(last));
        entry.map_or(0, |(_, incarnation)| *incarnation)
    }

    /// True when nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_belongs_to_the_start_that_was_noted_last_before_it() {
        let mut lineage = Lineage::default();
        let round = |number| Place::of_round(number, 1);
        assert_eq!((lineage.of(round(3)), lineage.is_empty()), (0, true));
        for (place, incarnation) in [
            (round(4), 11),
            (round(5), 11),
            (Place::of_round(5, 2), 12),
            // parts of one selection, and one that is not later
            (Place::of_round(5, 2), 13),
            (round(5), 14),
            (round(9), 13),
        ] {
            lineage.note(place, incarnation);
        }
        let of: Vec<u64> = (3..=10).map(|number| lineage.of(round(number))).collect();
        assert_eq!(of, [0, 11, 11, 12, 12, 12, 13, 13]);
        assert_eq!(lineage.of(Place::of_round(5, 2)), 12);
        let text = serde_json::to_string(&lineage).unwrap();
        let read: Lineage = serde_json::from_str(&text).unwrap();
        assert_eq!(read, lineage);
    }
}
