//! What a device has answered, and what it answers no more.
//!
//! Whatever a coordinator orders carries a ticket: its epoch, the run or monitor, the round with its
//! attempt or the window, and a seal. The device keeps the newest one of each run and monitor before it
//! sends anything for it, together with the digest of what it sends. From then on it does nothing that
//! is not newer, except to send the very same bytes again: a coordinator that was put back from a copy
//! would otherwise release the same round twice. When the device comes back it shows its newest tickets,
//! and the coordinator recognises by its own seal what it has lost.
//!
//! An epoch that is newer begins afresh: a coordinator that was restored ends its runs, so that what it
//! orders then is another run, whatever its name.

use bytes::Bytes;
use tributary_model::Digest;
use tributary_proto::v1::{Assignment, SummaryRequest, Ticket};

/// Longest seal that is kept: of a coordinator of this project it has 40 bytes, of an older one 32.
pub(crate) const LONGEST_SEAL: usize = 64;

/// When something was ordered, in the order of the coordinator's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// The coordinator's epoch; 0 of one that names none.
    pub epoch: u64,
    /// The round, window or calibration.
    pub number: u64,
    /// The attempt at a round; 0 for windows and calibrations.
    pub attempt: u32,
}

/// An order as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    /// The run or monitor; of calibrations the monitor followed by more.
    pub(crate) subject: String,
    pub(crate) place: Place,
    seal: Bytes,
}

/// What a device answered last in a run or monitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// What was ordered.
    pub place: Place,
    /// Digest of what was sent, or was about to be.
    pub digest: Digest,
    /// Whether the coordinator has said that it counted these bytes.
    pub counted: bool,
    /// The coordinator's seal: of the receipt if it was counted, else of the order. May be empty.
    pub seal: Bytes,
}

/// Why an order is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StaleError {
    /// It comes before what was answered last.
    #[error(
        "{ordered:?} is not newer than {answered:?}, which was answered: the coordinator may have been \
         put back from a copy"
    )]
    Older {
        /// What was ordered.
        ordered: Place,
        /// What was answered last.
        answered: Place,
    },
    /// It was answered, with other bytes.
    #[error("{ordered:?} was answered with other bytes, and no second answer leaves the device")]
    OtherBytes {
        /// What was ordered.
        ordered: Place,
    },
    /// It was answered, and the answer is gone.
    #[error(
        "{ordered:?} was answered before, and under privacy no answer is made a second time: whether its \
         bytes were the same would tell of the data"
    )]
    Answered {
        /// What was ordered.
        ordered: Place,
    },
}

impl StaleError {
    /// The word under which it is counted.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Older { .. } => "stale",
            Self::OtherBytes { .. } => "answered_otherwise",
            Self::Answered { .. } => "answered",
        }
    }
}

impl Order {
    /// A round's order.
    pub(crate) fn of_round(order: &Assignment) -> Self {
        let place = (u64::from(order.round), order.attempt);
        Self::new(&order.run_id, place, order.ticket.as_ref(), false)
    }

    /// A window's or calibration's question.
    pub(crate) fn of_window(request: &SummaryRequest) -> Self {
        let place = (request.window, 0);
        Self::new(&request.monitor_id, place, request.ticket.as_ref(), true)
    }

    /// The ticket's epoch, seal and, for a monitor's separate sequences, subject; the rest is what the
    /// order itself says.
    fn new(
        subject: &str,
        (number, attempt): (u64, u32),
        ticket: Option<&Ticket>,
        several: bool,
    ) -> Self {
        let fits = |ticket: &&Ticket| {
            let part = ticket.subject.strip_prefix(subject);
            let is_part = |part: &str| part.is_empty() || several && part.starts_with('/');
            part.is_some_and(is_part)
                && (ticket.number, ticket.attempt) == (number, attempt)
                && ticket.seal.len() <= LONGEST_SEAL
                && ticket.subject.len() <= 128
        };
        let ticket = ticket.filter(fits);
        Self {
            subject: ticket.map_or(subject, |ticket| &ticket.subject).to_owned(),
            place: Place {
                epoch: ticket.map_or(0, |ticket| ticket.epoch),
                number,
                attempt,
            },
            seal: ticket.map(|ticket| ticket.seal.clone()).unwrap_or_default(),
        }
    }

    /// What is kept before `digest` is sent.
    pub(crate) fn answered(&self, digest: Digest) -> Answered {
        Answered {
            place: self.place,
            digest,
            counted: false,
            seal: self.seal.clone(),
        }
    }
}

impl Answered {
    /// Whether an order may be worked on.
    ///
    /// # Errors
    /// When it comes before what was answered.
    pub fn check(&self, ordered: Place) -> Result<(), StaleError> {
        if ordered < self.place {
            return Err(StaleError::Older {
                ordered,
                answered: self.place,
            });
        }
        Ok(())
    }

    /// Whether an order may be answered with these bytes.
    ///
    /// # Errors
    /// When it comes before what was answered, or was answered with others.
    pub fn check_bytes(&self, ordered: Place, digest: Digest) -> Result<(), StaleError> {
        self.check(ordered)?;
        if ordered == self.place && digest != self.digest {
            return Err(StaleError::OtherBytes { ordered });
        }
        Ok(())
    }

    /// The same once the coordinator has said that it counted these bytes; unchanged when the receipt is
    /// of something else.
    pub(crate) fn with_receipt(mut self, subject: &str, receipt: Option<&Ticket>) -> Self {
        let Some(receipt) = receipt else { return self };
        let place = Place {
            epoch: receipt.epoch,
            number: receipt.number,
            attempt: receipt.attempt,
        };
        let fits = receipt.subject == subject
            && place == self.place
            && receipt.digest == self.digest.to_string()
            && receipt.seal.len() <= LONGEST_SEAL;
        if fits {
            self.counted = true;
            self.seal = receipt.seal.clone();
        }
        self
    }

    /// What is shown to the coordinator.
    pub(crate) fn ticket(&self, subject: &str) -> Ticket {
        Ticket {
            epoch: self.place.epoch,
            subject: subject.to_owned(),
            number: self.place.number,
            attempt: self.place.attempt,
            digest: match self.counted {
                true => self.digest.to_string(),
                false => String::new(),
            },
            seal: self.seal.clone(),
        }
    }
}

#[cfg(test)]
#[path = "ticket_tests.rs"]
mod tests;
