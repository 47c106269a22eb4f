//! Where a device keeps what it has answered.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::state::ticket::Answered;

/// Most runs and monitors that are kept. The one that was answered longest ago goes first: a coordinator
/// that asks for it again is recognised by the newer ones that are shown to it.
pub const MAX_ANSWERED: usize = 4096;
/// Tickets that are shown to a coordinator.
pub const SHOWN: usize = 4;

/// Why what was answered can't be read or written. The device then does not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// The file system failed.
    #[error("ticket {path}: {source}; check space and permissions")]
    Io {
        /// The file in question.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what this program wrote.
    #[error(
        "ticket {path} of {subject} is damaged: {problem}; the device takes no part in it: restore the \
         file, or delete it once the run or monitor has ended"
    )]
    Damaged {
        /// The file in question.
        path: String,
        /// The run or monitor.
        subject: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl TicketError {
    /// The word under which it is counted.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Io { .. } => "ticket_io",
            Self::Damaged { .. } => "ticket_damaged",
        }
    }
}

/// Keeps what was answered last in every run and monitor.
pub trait TicketRecord: Send + Sync {
    /// What was answered last in a run or monitor; none before the first time. May read files.
    ///
    /// # Errors
    /// When it can't be read; never taken for something that was not answered.
    fn load(&self, subject: &str) -> Result<Option<Answered>, TicketError>;

    /// Replaces what was answered last. Durable when it returns.
    ///
    /// # Errors
    /// When it can't be written; what was known stays.
    fn store(&self, subject: &str, answered: &Answered) -> Result<(), TicketError>;

    /// The [`SHOWN`] that were answered last, newest first, from memory.
    fn newest(&self) -> Vec<(String, Answered)>;
}

/// What was answered, in memory, in the order of time.
#[derive(Debug, Default)]
pub(crate) struct TicketTable {
    by_subject: BTreeMap<String, (u64, Answered)>,
    next: u64,
}

impl TicketTable {
    /// Adds what was answered; the subject that had to go for it.
    pub(crate) fn put(&mut self, subject: &str, answered: Answered, most: usize) -> Option<String> {
        let sequence = self.next;
        self.put_at(subject, sequence, answered);
        if self.by_subject.len() <= most {
            return None;
        }
        let oldest = self
            .by_subject
            .iter()
            .min_by_key(|(_, (sequence, _))| *sequence);
        let oldest = oldest.map(|(subject, _)| subject.clone())?;
        self.by_subject.remove(&oldest);
        Some(oldest)
    }

    /// Adds what was answered as the one with this number.
    pub(crate) fn put_at(&mut self, subject: &str, sequence: u64, answered: Answered) {
        self.next = self.next.max(sequence.saturating_add(1));
        self.by_subject
            .insert(subject.to_owned(), (sequence, answered));
    }

    /// The number that the next one gets.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The [`SHOWN`] newest, newest first.
    pub(crate) fn newest(&self) -> Vec<(String, Answered)> {
        let mut all: Vec<_> = self.by_subject.iter().collect();
        all.sort_by_key(|(_, (sequence, _))| std::cmp::Reverse(*sequence));
        let newest = all.into_iter().take(SHOWN);
        newest
            .map(|(subject, (_, answered))| (subject.clone(), answered.clone()))
            .collect()
    }
}

/// A record that ends with the process, for simulations.
#[derive(Debug, Default)]
pub struct VolatileTickets(Mutex<TicketTable>);

impl VolatileTickets {
    fn shelf(&self) -> MutexGuard<'_, TicketTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TicketRecord for VolatileTickets {
    fn load(&self, subject: &str) -> Result<Option<Answered>, TicketError> {
        let shelf = self.shelf();
        Ok(shelf
            .by_subject
            .get(subject)
            .map(|(_, known)| known.clone()))
    }

    fn store(&self, subject: &str, answered: &Answered) -> Result<(), TicketError> {
        self.shelf().put(subject, answered.clone(), MAX_ANSWERED);
        Ok(())
    }

    fn newest(&self) -> Vec<(String, Answered)> {
        self.shelf().newest()
    }
}
