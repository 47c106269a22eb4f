//! Recognising a data folder that was put back from a copy, and making it safe. [`crate::epoch`] explains
//! the tickets that prove it.
//!
//! - `witness`: what devices show, compared with what is known
//! - `past_runs`: with runs that are over
//! - `restore`: a folder that was put back is made safe

mod past_runs;
mod restore;
mod witness;

#[cfg(test)]
mod cut_off_test;
#[cfg(test)]
mod evidence_test;
#[cfg(test)]
mod tests;

pub use self::past_runs::PastRuns;
pub use self::restore::{Restored, restore};
