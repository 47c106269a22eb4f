//! How often and how densely one device may take part in a run.

use serde::{Deserialize, Serialize};

use super::{FtrlError, MAX_ROUNDS};

/// The participation limits that a guarantee over a whole run rests on.
///
/// A device is in at most `most` rounds, any two of them at least `separation` apart, and the run
/// has at most `rounds` rounds. Whoever runs the rounds must enforce all three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Participation {
    /// n: planned rounds, 1..=[`MAX_ROUNDS`].
    pub rounds: u32,
    /// k: rounds that one device may take part in, at least 1.
    pub most: u32,
    /// b: a device in round t may be in round t + b again, not earlier; 1..=n.
    pub separation: u32,
}

impl Participation {
    /// Checked limits.
    ///
    /// # Errors
    /// [`FtrlError::BadParticipation`] for a zero, for more than [`MAX_ROUNDS`] rounds, or for a
    /// separation longer than the run.
    pub fn new(rounds: u32, most: u32, separation: u32) -> Result<Self, FtrlError> {
        let participation = Self {
            rounds,
            most,
            separation,
        };
        participation.validate()?;
        Ok(participation)
    }

    /// Checks limits that were put together field by field.
    ///
    /// # Errors
    /// As [`Participation::new`].
    pub fn validate(&self) -> Result<(), FtrlError> {
        let refused = |field, value, remedy| {
            Err(FtrlError::BadParticipation {
                field,
                value,
                remedy,
            })
        };
        if self.rounds == 0 || self.rounds > MAX_ROUNDS {
            return refused("rounds", self.rounds, "plan 1 to 1048576 rounds");
        }
        if self.most == 0 {
            return refused("most", 0, "let a device take part at least once");
        }
        if self.separation == 0 {
            return refused("separation", 0, "1 allows every round");
        }
        if self.separation > self.rounds {
            return refused(
                "separation",
                self.separation,
                "use at most the number of rounds, which allows one participation",
            );
        }
        Ok(())
    }

    /// min(k, ceil(n / b)): participations that fit into the run.
    pub fn effective_most(&self) -> u32 {
        self.most.min(self.rounds.div_ceil(self.separation.max(1)))
    }

    /// The same run for a device that has taken part `most` times.
    pub fn with_most(self, most: u32) -> Self {
        Self { most, ..self }
    }

    /// Standard deviation, in clip units at noise multiplier 1, of the running sum after the last
    /// round with fresh noise in every round: sqrt(min(k, ceil(n / b)) n).
    pub fn independent_max_loss(&self) -> f64 {
        (f64::from(self.effective_most()) * f64::from(self.rounds)).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_make_no_sense_are_refused_with_their_field() {
        for (rounds, most, separation, field) in [
            (0, 1, 1, "rounds"),
            (MAX_ROUNDS + 1, 1, 1, "rounds"),
            (10, 0, 1, "most"),
            (10, 1, 0, "separation"),
            (10, 1, 11, "separation"),
        ] {
            let error = Participation::new(rounds, most, separation).unwrap_err();
            assert!(error.to_string().contains(field), "{error}");
        }
    }

    #[test]
    fn a_separation_caps_the_participations_that_fit() {
        let fitting = |n, k, b| Participation::new(n, k, b).unwrap().effective_most();
        assert_eq!(fitting(10, 10, 4), 3);
        assert_eq!(fitting(8, 10, 4), 2);
        assert_eq!(fitting(10, 2, 4), 2);
    }
}
