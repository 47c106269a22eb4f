//! What the agent does with its orders, one at a time.

use std::sync::Arc;

use tokio::time::Instant;
use tributary_proto::v1::directive::Directive as Order;

use crate::agent::core::Core;
use crate::agent::recent::Recent;

impl Core {
    /// Works off orders, and beside them offers, until both queues are closed.
    pub(crate) async fn work(self: &Arc<Self>) {
        let offers = async {
            while let Some(offer) = self.offers.next().await {
                Box::pin(self.build_offer(offer)).await;
            }
        };
        tokio::join!(self.orders(), offers);
    }

    async fn orders(self: &Arc<Self>) {
        let mut recent = Recent::default();
        while let Some((order, received)) = self.inbox.next().await {
            // boxed: what an order needs is freed before the long wait for the next
            Box::pin(self.obey(order, received, &mut recent)).await;
        }
    }

    async fn obey(self: &Arc<Self>, order: Order, received: Instant, recent: &mut Recent) {
        match order {
            Order::Assignment(assignment) => {
                self.assignment(assignment, received, recent).await;
            }
            Order::SummaryRequest(request) => self.summary(request, received, recent).await,
            Order::BuildOffer(offer) => self.build_offer(offer).await,
            // sorted out where they arrive
            Order::ModelPublished(_) | Order::Reject(_) => {}
        }
    }
}
