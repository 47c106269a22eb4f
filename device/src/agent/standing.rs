//! Keeping what was answered: looked at before the work, written before anything is sent.

use std::sync::Arc;

use tributary_model::Digest;
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::{OrderRefused, Ticket};

use crate::agent::abandoned::{Abandoned, failed};
use crate::agent::core::Core;
use crate::state::ticket::{Answered, Order, Place, StaleError};
use crate::state::ticket_record::{TicketError, TicketRecord};

/// How an order stands to what was answered.
#[derive(Debug)]
pub(crate) struct Standing {
    /// What was answered to this very order, in this process or before it was started.
    answered: Option<(Place, Ticket)>,
}

/// Why an order is not answered.
#[derive(Debug, thiserror::Error)]
enum StandingError {
    #[error(transparent)]
    Stale(#[from] StaleError),
    #[error(transparent)]
    Record(#[from] TicketError),
}

impl Core {
    /// Whether an order is newer than what was answered, or the same again. If not, the coordinator is
    /// shown what was.
    pub(crate) async fn check_order(&self, order: &Order) -> Result<Standing, Abandoned> {
        let work = |order: Order, record: Arc<dyn TicketRecord>| {
            let last = record.load(&order.subject)?;
            if let Some(last) = &last {
                last.check(order.place)?;
            }
            let same = last.filter(|last| last.place == order.place);
            let answered = same.map(|same| (same.place, same.ticket(&order.subject)));
            Ok(Standing { answered })
        };
        self.with_tickets(order, work).await
    }

    /// Whether a private order may be answered that the device holds no answer to: not when it was answered
    /// before. A constant form would have the same bytes again, and the update of a training others, which
    /// are refused: that would tell which it was. In virtual time both have the same bytes.
    pub(crate) fn check_unanswered(
        &self,
        standing: Standing,
        seed: &[u8],
    ) -> Result<(), Abandoned> {
        match standing.answered {
            Some((ordered, newest)) if !self.is_virtual(seed) => {
                let stale = StaleError::Answered { ordered };
                Err(self.stale(&stale, Some(newest)))
            }
            _ => Ok(()),
        }
    }

    /// Makes durable that an order is answered with bytes of this digest.
    pub(crate) async fn stand_by(&self, order: &Order, digest: Digest) -> Result<(), Abandoned> {
        let work = move |order: Order, record: Arc<dyn TicketRecord>| {
            let answered = order.answered(digest);
            match record.load(&order.subject)? {
                // sent before, and perhaps counted
                Some(last) if last.place == order.place && last.digest == digest => return Ok(()),
                Some(last) => last.check_bytes(order.place, digest)?,
                None => {}
            }
            Ok(record.store(&order.subject, &answered)?)
        };
        self.with_tickets(order, work).await
    }

    /// Notes that the coordinator has counted what was sent. When that can't be written the order's own
    /// ticket stays, which proves less.
    pub(crate) async fn counted_by(&self, order: &Order, digest: Digest, receipt: Option<Ticket>) {
        let work = move |order: Order, record: Arc<dyn TicketRecord>| {
            let Some(last) = record.load(&order.subject)? else {
                return Ok(());
            };
            if last.place != order.place || last.digest != digest {
                return Ok(());
            }
            let answered = last.clone().with_receipt(&order.subject, receipt.as_ref());
            if answered != last {
                record.store(&order.subject, &answered)?;
            }
            Ok(())
        };
        // counted by its reason there
        let _ = self.with_tickets(order, work).await;
    }

    /// The newest tickets, as they are shown.
    pub(crate) fn shown_tickets(&self) -> Vec<Ticket> {
        let newest = self.tickets.newest();
        let shown = |(subject, answered): &(String, Answered)| answered.ticket(subject);
        newest.iter().map(shown).collect()
    }

    /// Files may be read and synced: done on a thread of its own, not among the trainings. An order that
    /// is stale is answered with the ticket of what was answered last.
    async fn with_tickets<T: Send + 'static>(
        &self,
        order: &Order,
        work: impl FnOnce(Order, Arc<dyn TicketRecord>) -> Result<T, StandingError> + Send + 'static,
    ) -> Result<T, Abandoned> {
        let (record, owned) = (Arc::clone(&self.tickets), order.clone());
        let with_newest = move || {
            let subject = owned.subject.clone();
            work(owned, Arc::clone(&record)).map_err(|error| {
                let last = record.load(&subject).ok().flatten();
                Box::new((error, last.map(|last| last.ticket(&subject))))
            })
        };
        let (error, newest) = match tokio::task::spawn_blocking(with_newest).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(refused)) => *refused,
            Err(_) => return Err(failed("crashed")),
        };
        Err(match error {
            StandingError::Stale(stale) => self.stale(&stale, newest),
            StandingError::Record(error) => {
                tracing::warn!(device = self.identity.hashed_id(), %error, "no answer to an order");
                failed(error.reason())
            }
        })
    }

    /// Shows the coordinator the ticket of what was answered last.
    fn stale(&self, stale: &StaleError, newest: Option<Ticket>) -> Abandoned {
        tracing::debug!(device = self.identity.hashed_id(), %stale, "an order is not followed");
        self.tell(Event::OrderRefused(OrderRefused { newest }));
        Abandoned {
            reason: "stale",
            ..failed(stale.reason())
        }
    }
}
