//! What a device keeps from round to round of a run: never sent, never shown to the coordinator.
//!
//! | vector | holds | moves |
//! |---|---|---|
//! | control variate | SCAFFOLD's c_i | when the update was counted |
//! | dynamic gradient | FedDyn's g_i | when the update was counted |
//! | momentum | worker momentum m | when the update was counted |
//! | residual | what a sparse codec left out | when the update was counted |
//! | personal, alpha | personal parameters and their share | when the update was counted |
//!
//! The first four mirror sums that the coordinator holds, so they may only move with an update that
//! is in those sums: an update that was refused, came late or was lost leaves them as they are, and so
//! does a receipt for another update of the device. Personal parameters move with the shared ones that
//! they were trained beside. A device that dies between the receipt and the write keeps the old ones,
//! and when the coordinator gives up a round after its receipts the devices keep the new ones; both
//! cost accuracy for some rounds, not correctness.
//!
//! In a run with privacy a device that answered in constant form moves nothing, and writes as much as one
//! that trained: the places of the vectors are kept, whether there is something in them or not. What comes
//! after a receipt would else come earlier for the one than for the other.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Runs that a device remembers; the oldest go first.
pub const RUNS_KEPT: usize = 4;

/// The kinds of vectors that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    /// SCAFFOLD's control variate of the device.
    ControlVariate,
    /// FedDyn's gradient of the device.
    DynamicGradient,
    /// Momentum of the device's updates.
    Momentum,
    /// What a sparse codec left out so far.
    Residual,
    /// Personal parameters.
    Personal,
    /// APFL's share of the personal model, one value.
    Alpha,
}

impl Kept {
    /// Every kind.
    pub const ALL: [Kept; 6] = [
        Kept::ControlVariate,
        Kept::DynamicGradient,
        Kept::Momentum,
        Kept::Residual,
        Kept::Personal,
        Kept::Alpha,
    ];

    /// The number that stands for it in files.
    pub(crate) const fn tag(self) -> u8 {
        match self {
            Self::ControlVariate => 1,
            Self::DynamicGradient => 2,
            Self::Momentum => 3,
            Self::Residual => 4,
            Self::Personal => 5,
            Self::Alpha => 6,
        }
    }
}

/// What is kept of one run.
#[derive(Clone, Default, PartialEq)]
pub struct RunState {
    vectors: BTreeMap<Kept, Vec<f32>>,
    /// Lengths of places that nothing is kept in yet; no kind is in both.
    places: BTreeMap<Kept, usize>,
}

impl RunState {
    /// The vector of a kind; `None` when there is none with `length` values, for example because
    /// the run works on another model than when it was kept.
    pub fn get(&self, kept: Kept, length: usize) -> Option<&[f32]> {
        let vector = self.vectors.get(&kept)?;
        (vector.len() == length).then_some(vector)
    }

    /// Sets the vector of a kind.
    pub fn set(&mut self, kept: Kept, values: Vec<f32>) {
        self.places.remove(&kept);
        self.vectors.insert(kept, values);
    }

    /// Keeps a vector of `length` values as it is, and where there is none its place, which is as long.
    pub fn hold(&mut self, kept: Kept, length: usize) {
        if self.get(kept, length).is_none() {
            self.vectors.remove(&kept);
            self.places.insert(kept, length);
        }
    }

    /// Takes over all vectors of `changes`, and holds its places.
    pub fn merge(&mut self, changes: RunState) {
        for (kept, values) in changes.vectors {
            self.set(kept, values);
        }
        for (kept, length) in changes.places {
            self.hold(kept, length);
        }
    }

    /// Whether nothing is kept, and no place either.
    pub fn is_empty(&self) -> bool {
        self.vectors.is_empty() && self.places.is_empty()
    }

    /// All vectors, by kind.
    pub(crate) fn vectors(&self) -> impl ExactSizeIterator<Item = (Kept, &[f32])> {
        let vectors = self.vectors.iter();
        vectors.map(|(kept, values)| (*kept, &values[..]))
    }

    /// Lengths of the places with nothing in them, by kind.
    pub(crate) fn places(&self) -> impl ExactSizeIterator<Item = (Kept, usize)> {
        self.places.iter().map(|(kept, length)| (*kept, *length))
    }
}

/// Shows kinds and lengths alone: the values are as private as the data.
impl fmt::Debug for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lengths = self.vectors().map(|(kept, values)| (kept, values.len()));
        f.debug_map().entries(lengths.chain(self.places())).finish()
    }
}

/// Why kept state can't be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The file system failed.
    #[error("memory file {path}: {source}; check space and permissions")]
    Io {
        /// The file in question.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what this program wrote.
    #[error("memory file {path} is damaged: {problem}; its run starts afresh on this device")]
    Damaged {
        /// The file in question.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl MemoryError {
    /// The word under which it is counted.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Io { .. } => "io",
            Self::Damaged { .. } => "damaged",
        }
    }
}

/// Keeps the state of the [`RUNS_KEPT`] runs that changed last.
pub trait DeviceMemory: Send + Sync {
    /// What is kept of a run; empty when nothing is. May read files: called on the work pool.
    ///
    /// # Errors
    /// When it can't be read; the caller then goes on as if nothing had been kept.
    fn load(&self, run_id: &str) -> Result<RunState, MemoryError>;

    /// Replaces the vectors that are in `changes` and keeps the others; see [`RunState::merge`]. State
    /// that can't be read is dropped.
    ///
    /// # Errors
    /// When it can't be written; what was kept before stays.
    fn merge(&self, run_id: &str, changes: RunState) -> Result<(), MemoryError>;
}

/// Memory that ends with the process, for simulations.
#[derive(Debug, Default)]
pub struct VolatileMemory(Mutex<VecDeque<(String, RunState)>>);

impl VolatileMemory {
    fn runs(&self) -> MutexGuard<'_, VecDeque<(String, RunState)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DeviceMemory for VolatileMemory {
    fn load(&self, run_id: &str) -> Result<RunState, MemoryError> {
        let runs = self.runs();
        let found = runs.iter().find(|(known, _)| known == run_id);
        Ok(found.map(|(_, state)| state.clone()).unwrap_or_default())
    }

    fn merge(&self, run_id: &str, changes: RunState) -> Result<(), MemoryError> {
        let mut runs = self.runs();
        let known = runs.iter().position(|(known, _)| known == run_id);
        let (name, mut state) = known
            .and_then(|position| runs.remove(position))
            .unwrap_or_else(|| (run_id.to_owned(), RunState::default()));
        state.merge(changes);
        runs.push_back((name, state));
        while runs.len() > RUNS_KEPT {
            runs.pop_front();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_no_value() {
        let mut state = RunState::default();
        state.set(Kept::Personal, vec![0.125, 7.5]);
        assert_eq!(format!("{state:?}"), "{Personal: 2}");
        let memory = VolatileMemory::default();
        memory.merge("run", state).unwrap();
        assert!(!format!("{memory:?}").contains("7.5"));
    }
}
