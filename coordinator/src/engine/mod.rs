//! The round engine: a deterministic state machine without I/O.
//!
//! ```text
//! Selecting -> Collecting -> Sealing -> Releasing -> Published -> (next round) Selecting
//!      \------------\----------------> Aborted{reason} -> (same round, next attempt) Selecting
//! ```
//!
//! [`RunState::apply`] takes an [`Event`] that has been or is about to be persisted, checks it
//! against the state, and returns the [`Effect`]s to run. It reads no clock and draws no
//! randomness: both come in as arguments, so replaying the stored events after a crash rebuilds
//! the same state. An event that does not fit is a [`Reject`] and leaves the state untouched.
//!
//! Invariants kept here, each with a test of its number:
//! 1. a device is counted at most once per round;
//! 2. a contributor named in a sealed segment stays in the round until it is published or aborted;
//! 3. a round is released only after its charge.

mod admit;
mod apply;
mod counted;
mod drop_reason;
mod eligibility;
mod event;
mod last_place;
mod mark;
mod participation;
mod reject;
mod released;
mod select;
mod signs;
mod state;

pub use drop_reason::DropReason;
pub use eligibility::LONGEST_HOLD;
pub use event::{Assigned, CloseReason, Effect, Event, Segment, Unheard};
pub use last_place::LastPlace;
pub use mark::{Mark, MarkKey};
pub use participation::{Participation, Standing};
pub use reject::Reject;
pub use select::{Candidate, select};
pub use signs::{Noise, RELEASES_IN_A_ROW, Signs};
pub use state::{AssignmentState, Lease, Phase, RoundRecord, RoundState, RunState, RunStatus};

#[cfg(test)]
mod buffer_tests;
#[cfg(test)]
mod limit_tests;
#[cfg(test)]
mod model_test;
#[cfg(test)]
mod setback_tests;
#[cfg(test)]
mod tests;
