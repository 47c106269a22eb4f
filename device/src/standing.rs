//! Keeping what was answered: looked at before the work, written before anything is sent.

use std::sync::Arc;

use tributary_model::Digest;
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::{OrderRefused, Ticket};

use crate::agent::Core;
use crate::assignment::{Abandoned, failed};
use crate::ticket::{Answered, Order, StaleError};
use crate::ticket_record::{TicketError, TicketRecord};

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
    pub(crate) async fn check_order(&self, order: &Order) -> Result<(), Abandoned> {
        let work = |order: Order, record: Arc<dyn TicketRecord>| {
            if let Some(last) = record.load(&order.subject)? {
                last.check(order.place)?;
            }
            Ok(())
        };
        self.with_tickets(order, work).await
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
    async fn with_tickets(
        &self,
        order: &Order,
        work: impl FnOnce(Order, Arc<dyn TicketRecord>) -> Result<(), StandingError> + Send + 'static,
    ) -> Result<(), Abandoned> {
        let (record, owned) = (Arc::clone(&self.tickets), order.clone());
        let with_newest = move || {
            let subject = owned.subject.clone();
            let error = work(owned, Arc::clone(&record)).err()?;
            let last = record.load(&subject).ok().flatten();
            Some((error, last.map(|last| last.ticket(&subject))))
        };
        let (error, newest) = match tokio::task::spawn_blocking(with_newest).await {
            Ok(None) => return Ok(()),
            Ok(Some(refused)) => refused,
            Err(_) => return Err(failed("crashed")),
        };
        let device = self.identity.hashed_id();
        Err(match error {
            StandingError::Stale(stale) => {
                tracing::debug!(device, subject = order.subject, %stale, "an order is not followed");
                self.tell(Event::OrderRefused(OrderRefused { newest }));
                Abandoned {
                    reason: "stale",
                    ..failed(stale.reason())
                }
            }
            StandingError::Record(error) => {
                tracing::warn!(device, %error, "no answer to an order");
                failed(error.reason())
            }
        })
    }
}
