//! How often a device takes part in a run, by its own count.
//!
//! Correlated noise (DP-FTRL) is accounted for devices that join at most k rounds, b rounds apart
//! (Choquette-Choo et al. 2023, "(Amplified) Banded Matrix Factorization", section 2). The
//! coordinator enforces (k, b); the device does so too, from a record of its own, so that a
//! coordinator that forgot, for example one that was restored from an old backup, gets no further
//! rounds out of it. The limits are those of the plan: a coordinator that sends a plan without them, or
//! under another run's name, is believed. And the last round may come again (see below), so a backup of
//! before a published round can have that one round's update twice.
//!
//! A participation begins when the coordinator has accepted an update's header and before the first
//! byte of the update leaves. What is refused by its header (a goal that is met, a round that is
//! over) does not count; what was interrupted later does. Rounds only rise: a round before the last
//! one is refused under every limit, because its distance from the others is no longer known.
//!
//! The last round may come again: its earlier attempt was given up and released nothing, or the
//! device was restarted. That does not count twice. Under local noise every update that was noised
//! anew is one more exposure, because the coordinator itself is whom it protects from: another
//! attempt counts, and the same attempt is refused unless the very same bytes are sent again. Neither
//! the separation nor the pause applies inside a round.
//!
//! The pause is kept by the time of day, which outlasts a restart. A clock that is set back makes it
//! longer; one that is set forward makes it shorter, and then k and b alone hold.

use tributary_proto::v1::ParticipationLimit;

/// What a plan allows. The default allows everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Most participations in the run (k); 0 is no limit.
    pub max_participations: u32,
    /// Fewest rounds from one participation to the next (b); 0 or 1 is no limit.
    pub min_separation: u32,
    /// Fewest milliseconds from one participation to the next; 0 is no limit.
    pub min_interval_ms: u64,
}

impl Limits {
    /// Whether there is any.
    pub fn is_limited(&self) -> bool {
        self.max_participations > 0 || self.min_separation > 1 || self.min_interval_ms > 0
    }
}

impl From<&ParticipationLimit> for Limits {
    fn from(message: &ParticipationLimit) -> Self {
        Self {
            max_participations: message.max_participations,
            min_separation: message.min_separation,
            min_interval_ms: message.min_interval_ms,
        }
    }
}

/// A participation that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParticipationRequest {
    /// The round, from 1.
    pub round: u32,
    /// The attempt at it, from 1.
    pub attempt: u32,
    /// What the plan allows.
    pub limits: Limits,
    /// Whether the update carries noise of the device's own, so that another one is another
    /// exposure.
    pub noised: bool,
    /// Whether the bytes are those that the record has already, whatever their attempt.
    pub resent: bool,
}

/// A device's participations in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Participations {
    /// How many.
    pub count: u32,
    /// The last round; 0 before the first.
    pub round: u32,
    /// The last attempt at it.
    pub attempt: u32,
    /// The latest time at which an update left, in milliseconds since 1970 by the device's clock.
    /// It never falls, even when the clock is set back.
    pub at_ms: u64,
}

/// Why a device may not take part now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// It took part as often as it may.
    #[error("took part {count} times, max_participations is {most}: nothing more in this run")]
    Participations {
        /// How often it took part.
        count: u32,
        /// How often it may.
        most: u32,
    },
    /// The last participation is too few rounds ago.
    #[error("took part in round {last}, min_separation is {fewest}: wait for round {next}")]
    Separation {
        /// The last round.
        last: u32,
        /// Rounds that must lie between.
        fewest: u32,
        /// The next round that it may join.
        next: u64,
    },
    /// The last participation is too short ago.
    #[error("took part {elapsed_ms} ms ago, min_interval_ms is {fewest_ms}: wait for the rest")]
    Interval {
        /// Milliseconds since then; 0 when the clock was set back.
        elapsed_ms: u64,
        /// Milliseconds that must lie between.
        fewest_ms: u64,
    },
    /// The round is before the last one.
    #[error("took part in round {last}: earlier rounds are over for this device")]
    RoundPast {
        /// The last round.
        last: u32,
    },
    /// An update with noise of the device's own may have left for this attempt.
    #[error("a noised update of round {round}, attempt {attempt} may have left: no second one")]
    AlreadyNoised {
        /// The round.
        round: u32,
        /// The last attempt.
        attempt: u32,
    },
}

impl LimitError {
    /// The word under which it is counted.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Participations { .. } => "max_participations",
            Self::Separation { .. } => "min_separation",
            Self::Interval { .. } => "min_interval",
            Self::RoundPast { .. } => "round_past",
            Self::AlreadyNoised { .. } => "already_noised",
        }
    }
}

impl Participations {
    /// What the record holds once `turn` was taken at `now_ms`.
    ///
    /// # Errors
    /// The limit that the turn would pass.
    pub fn after(&self, turn: &ParticipationRequest, now_ms: u64) -> Result<Self, LimitError> {
        let at_ms = now_ms.max(self.at_ms);
        let repeated = self.count > 0 && turn.round == self.round;
        if repeated && (turn.resent || !turn.noised) {
            let attempt = turn.attempt.max(self.attempt);
            return Ok(Self {
                attempt,
                at_ms,
                ..*self
            });
        }
        if repeated && turn.attempt <= self.attempt {
            return Err(LimitError::AlreadyNoised {
                round: self.round,
                attempt: self.attempt,
            });
        }
        if self.count > 0 && !repeated {
            self.check_distance(turn, now_ms)?;
        }
        let most = turn.limits.max_participations;
        if most > 0 && self.count >= most {
            return Err(LimitError::Participations {
                count: self.count,
                most,
            });
        }
        Ok(Self {
            count: self.count.saturating_add(1),
            round: turn.round,
            attempt: turn.attempt,
            at_ms,
        })
    }

    /// Separation and pause from the last participation to another round.
    fn check_distance(&self, turn: &ParticipationRequest, now_ms: u64) -> Result<(), LimitError> {
        let (last, limits) = (self.round, turn.limits);
        if turn.round < last {
            return Err(LimitError::RoundPast { last });
        }
        if turn.round - last < limits.min_separation {
            return Err(LimitError::Separation {
                last,
                fewest: limits.min_separation,
                next: u64::from(last) + u64::from(limits.min_separation),
            });
        }
        // 0 under a clock that was set back before the last participation: the pause gets longer
        let elapsed_ms = now_ms.saturating_sub(self.at_ms);
        if elapsed_ms < limits.min_interval_ms {
            return Err(LimitError::Interval {
                elapsed_ms,
                fewest_ms: limits.min_interval_ms,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "participation_tests.rs"]
mod tests;
