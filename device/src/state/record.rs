//! Where a device keeps its participations.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::state::participation::Participations;

/// Most runs that a record holds. It never forgets one by itself: a run that is forgotten would be
/// counted from zero.
pub const MAX_RUNS_RECORDED: usize = 4096;

/// Why participations can't be read or written. The device then takes no part in runs that limit
/// them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The file system failed.
    #[error("participation record {path}: {source}; check space and permissions")]
    Io {
        /// The file in question.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what this program wrote.
    #[error(
        "participation record {path} of run {run_id} is damaged: {problem}; the device takes no \
         part in the run: restore the file, or delete it once the run has ended"
    )]
    Damaged {
        /// The file in question.
        path: String,
        /// The run.
        run_id: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There is no room for another run.
    #[error(
        "participation record {place} holds {MAX_RUNS_RECORDED} runs; delete those of runs that \
         have ended"
    )]
    Full {
        /// The folder, or `in memory`.
        place: String,
    },
}

impl RecordError {
    /// The word under which it is counted.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Io { .. } => "record_io",
            Self::Damaged { .. } => "record_damaged",
            Self::Full { .. } => "record_full",
        }
    }
}

/// Keeps the participations of every run.
pub trait ParticipationRecord: Send + Sync {
    /// What is known of a run; none before its first participation. May read files: called on the
    /// work pool.
    ///
    /// # Errors
    /// When it can't be read; never taken for a run that is not known.
    fn load(&self, run_id: &str) -> Result<Participations, RecordError>;

    /// Replaces what is known of a run. Durable when it returns.
    ///
    /// # Errors
    /// When it can't be written, or there is no room for another run; what was known stays.
    fn store(&self, run_id: &str, participations: &Participations) -> Result<(), RecordError>;
}

/// A record that ends with the process, for simulations.
#[derive(Debug, Default)]
pub struct VolatileRecord(Mutex<BTreeMap<String, Participations>>);

impl ParticipationRecord for VolatileRecord {
    fn load(&self, run_id: &str) -> Result<Participations, RecordError> {
        let runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(runs.get(run_id).copied().unwrap_or_default())
    }

    fn store(&self, run_id: &str, participations: &Participations) -> Result<(), RecordError> {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !runs.contains_key(run_id) && runs.len() >= MAX_RUNS_RECORDED {
            return Err(RecordError::Full {
                place: "in memory".to_owned(),
            });
        }
        runs.insert(run_id.to_owned(), *participations);
        Ok(())
    }
}
