//! Working off an assignment: what it is checked for, what is sent, and what moves once it was counted.

use std::sync::Arc;

use tokio::time::{Instant, sleep};
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::{Assignment, AssignmentAbandoned, RejectReason};

use crate::agent::abandoned::{Abandoned, failed};
use crate::agent::core::Core;
use crate::agent::drop_reason::{drop_reason, is_private};
use crate::agent::job::Finished;
use crate::agent::lease::Lease;
use crate::agent::recent::{Counted, Origin, Recent};
use crate::state::memory::RunState;
use crate::state::permit::Permit;
use crate::state::ticket;
use crate::training::compute::Scratch;
use crate::training::update::EncodedUpdate;
use crate::transport::upload::Delivery;

impl Core {
    /// Works off an assignment, from its check to the receipt.
    pub(crate) async fn assignment(
        self: &Arc<Self>,
        order: Assignment,
        received: Instant,
        recent: &mut Recent,
    ) {
        self.step('v');
        self.environment.tally.count("assignment", "received");
        let seed = order.plan.as_ref().map(|plan| &plan.simulation_seed[..]);
        let lease = self.lease(received, order.lease_ms, seed.unwrap_or_default());
        // sent again after a reconnect that the receipt overtook; another attempt is another order
        if recent
            .counted
            .as_ref()
            .is_some_and(|counted| counted.answers(&order))
        {
            self.environment
                .tally
                .count("assignment", "already_counted");
            self.finish_shape();
            return;
        }
        let ordered = ticket::Order::of_round(&order);
        let standing = match self.check_order(&ordered).await {
            Ok(standing) => standing,
            Err(abandoned) => {
                self.abandon(&order, abandoned);
                self.finish_shape();
                return;
            }
        };
        let origin = Origin::of(&order);
        let kept = recent.finished.take();
        let finished = match kept.filter(|(kept, _)| *kept == origin) {
            Some((_, mut again)) => {
                again.pass.renew(order.attempt);
                Some(again)
            }
            None => match self.train(&order, standing, lease, recent).await {
                Ok(mut finished) => {
                    self.conduct.alter_update(&mut finished.update);
                    Some(finished)
                }
                Err(abandoned) => {
                    self.abandon(&order, abandoned);
                    None
                }
            },
        };
        if let Some(finished) = finished {
            let answer = (origin, finished);
            self.answer(&order, &ordered, answer, lease, recent).await;
        }
        self.finish_shape();
    }

    /// Sends the answer to an order. What the device keeps of the run moves once it was counted;
    /// until then the update is kept.
    async fn answer(
        self: &Arc<Self>,
        order: &Assignment,
        ordered: &ticket::Order,
        (origin, mut finished): (Origin, Finished),
        lease: Lease,
        recent: &mut Recent,
    ) {
        let digest = finished.update.digest;
        if let Err(abandoned) = self.stand_by(ordered, digest).await {
            self.abandon(order, abandoned);
            return;
        }
        let delivery = self
            .report(&finished.update, &mut finished.pass, lease)
            .await;
        let counted = Counted {
            run_id: origin.run_id.clone(),
            round: origin.round,
            attempt: order.attempt,
        };
        match delivery {
            Delivery::Counted(receipt) => {
                recent.counted = Some(counted);
                self.counted_by(ordered, digest, receipt).await;
                let changes = finished.on_receipt;
                drop(finished.update);
                self.counted(origin.run_id, changes).await;
                return;
            }
            Delivery::CountedOtherwise => {
                // one that was made before the device was restarted; this one is in no sum
                recent.counted = Some(counted);
                return;
            }
            Delivery::Refused(_) | Delivery::Expired | Delivery::Barred(_) => {}
        }
        recent.finished = Some((origin, finished));
        // the tally has it as refused or expired
        if let Some(abandoned) = gives_back(&delivery) {
            self.give_back(order, abandoned);
        }
    }

    /// Sends an update; how the best of its deliveries ended.
    async fn report(&self, update: &EncodedUpdate, pass: &mut Permit, lease: Lease) -> Delivery {
        let hold = self.conduct.hold(lease.left());
        sleep(hold).await;
        self.step(']');
        let deadline = lease.until.max(Instant::now() + hold);
        let mut outcome = self.link().deliver(update, pass, deadline).await;
        for _ in 1..self.conduct.copies() {
            let copy = self.link().deliver(update, pass, deadline).await;
            if !matches!(outcome, Delivery::Counted(_)) {
                outcome = copy;
            }
        }
        if let Delivery::Refused(reason) = outcome {
            tracing::debug!(
                device = self.identity.hashed_id(),
                ?reason,
                "update refused"
            );
        }
        outcome
    }

    fn abandon(&self, order: &Assignment, abandoned: Abandoned) {
        self.step('!');
        self.environment.tally.count("abandoned", abandoned.because);
        self.give_back(order, abandoned);
    }

    /// Tells the coordinator that nothing more comes for an assignment.
    fn give_back(&self, order: &Assignment, abandoned: Abandoned) {
        self.tell(Event::AssignmentAbandoned(AssignmentAbandoned {
            run_id: order.run_id.clone(),
            round: order.round,
            kind: drop_reason(&abandoned, is_private(order)).into(),
            reason: abandoned.reason.to_owned(),
            detail: abandoned.detail.unwrap_or_default(),
        }));
    }

    /// Moves what the device keeps of a run, now that its update is in the sums, before it does anything
    /// else: under privacy it writes as much when there is nothing to move.
    async fn counted(self: &Arc<Self>, run_id: String, changes: RunState) {
        if changes.is_empty() {
            return;
        }
        let core = Arc::clone(self);
        let moving = move |_: &mut Scratch| core.remember(&run_id, changes);
        if self.environment.compute.run(moving).await.is_err() {
            self.environment.tally.count("memory", "crashed");
        }
    }
}

/// Why the assignment is given back, so that its round does not wait for an update that will not
/// come; `None` when the round waits no longer, or has the update.
fn gives_back(delivery: &Delivery) -> Option<Abandoned> {
    match delivery {
        Delivery::Counted(_) | Delivery::CountedOtherwise => None,
        Delivery::Refused(
            RejectReason::GoalMet
            | RejectReason::WrongRound
            | RejectReason::UnknownRun
            | RejectReason::LeaseExpired
            | RejectReason::NotAssigned,
        ) => None,
        Delivery::Refused(_) => Some(failed("refused")),
        Delivery::Expired => Some(Abandoned {
            reason: "slow",
            ..failed("expired")
        }),
        Delivery::Barred(error) => Some(error.into()),
    }
}
