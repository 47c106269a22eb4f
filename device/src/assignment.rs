//! Working off an assignment: data, models, training, delivery, and what moves once it was counted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::{Assignment, AssignmentAbandoned, SummaryReport};

use crate::agent::Core;
use crate::compute::Workbench;
use crate::conduct::{Decision, Workload};
use crate::data::Purpose;
use crate::drop_reason::{drop_reason, is_private};
use crate::fit::Misfit;
use crate::job::{Finished, TrainingJob};
use crate::library::LoadedModel;
use crate::memory::RunState;
use crate::plan::LocalPlan;
use crate::standing::Standing;
use crate::ticket::{self, Place};
use crate::training::{EncodedUpdate, TrainingError};
use crate::turns::Pass;
use crate::upload::Delivery;
use crate::work::Lease;

/// What a device remembers from one order to the next.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) models: VecDeque<Arc<LoadedModel>>,
    /// The last update that was made, until it is counted.
    finished: Option<(Origin, Finished)>,
    counted: Option<Counted>,
    /// The last votes, and what they answer.
    pub(crate) votes: Option<(Place, SummaryReport)>,
}

/// What an update was trained for and from. It answers every attempt of its round that starts from
/// the same versions: a coordinator that lost it takes it as well as a new one.
#[derive(PartialEq, Eq)]
struct Origin {
    run_id: String,
    round: u32,
    model_digest: String,
    auxiliary_digests: Vec<String>,
}

impl Origin {
    fn of(order: &Assignment) -> Self {
        Self {
            run_id: order.run_id.clone(),
            round: order.round,
            model_digest: order.model_digest.clone(),
            auxiliary_digests: order.auxiliary_digests.clone(),
        }
    }
}

/// The last update that was counted, with the attempt: a round that was given up after it forgot it.
struct Counted {
    run_id: String,
    round: u32,
    attempt: u32,
}

impl Counted {
    fn answers(&self, order: &Assignment) -> bool {
        self.run_id == order.run_id && self.round == order.round && self.attempt == order.attempt
    }
}

/// An assignment that will not be finished: the word for the coordinator and the counted one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Abandoned {
    pub(crate) reason: &'static str,
    pub(crate) because: &'static str,
    /// What the device is not made for, by name.
    pub(crate) detail: Option<String>,
}

pub(crate) const fn failed(because: &'static str) -> Abandoned {
    Abandoned {
        reason: "failed",
        because,
        detail: None,
    }
}

/// The device is not made for what it is asked: says nothing but what it declares and what was asked.
pub(crate) fn unfit(because: &'static str, detail: String) -> Abandoned {
    Abandoned {
        reason: "configuration",
        because,
        detail: Some(detail),
    }
}

impl Core {
    pub(crate) async fn assignment(
        self: &Arc<Self>,
        order: Assignment,
        received: Instant,
        memory: &mut Memory,
    ) {
        self.step('v');
        self.environment.tally.count("assignment", "received");
        let seed = order.plan.as_ref().map(|plan| &plan.simulation_seed[..]);
        let lease = self.lease(received, order.lease_ms, seed.unwrap_or_default());
        // sent again after a reconnect that the receipt overtook; another attempt is another order
        if memory
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
        let kept = memory.finished.take();
        let finished = match kept.filter(|(kept, _)| *kept == origin) {
            Some((_, mut again)) => {
                again.pass.renew(order.attempt);
                Some(again)
            }
            None => match self.train(&order, standing, lease, memory).await {
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
            self.answer(&order, &ordered, answer, lease, memory).await;
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
        memory: &mut Memory,
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
                memory.counted = Some(counted);
                self.counted_by(ordered, digest, receipt).await;
                let changes = finished.on_receipt;
                drop(finished.update);
                self.counted(origin.run_id, changes).await;
                return;
            }
            Delivery::CountedOtherwise => {
                // one that was made before the device was restarted; this one is in no sum
                memory.counted = Some(counted);
                return;
            }
            Delivery::Refused(_) | Delivery::Expired | Delivery::Barred(_) => {}
        }
        memory.finished = Some((origin, finished));
        // the tally has it as refused or expired
        if let Some(abandoned) = delivery.gives_back() {
            self.give_back(order, abandoned);
        }
    }

    /// Sends an update; how the best of its deliveries ended.
    async fn report(&self, update: &EncodedUpdate, pass: &mut Pass, lease: Lease) -> Delivery {
        let hold = self.conduct.hold(lease.left());
        sleep(hold).await;
        self.step(']');
        let deadline = lease.until.max(Instant::now() + hold);
        let mut outcome = self.deliver(update, pass, deadline).await;
        for _ in 1..self.conduct.copies() {
            let copy = self.deliver(update, pass, deadline).await;
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
        let moving = move |_: &mut Workbench| core.remember(&run_id, changes);
        if self.environment.compute.run(moving).await.is_err() {
            self.environment.tally.count("memory", "crashed");
        }
    }

    /// From an assignment to an encoded update. What comes after the job is made looks at the data: under
    /// privacy none of it decides whether, when or at what length the device answers.
    async fn train(
        self: &Arc<Self>,
        order: &Assignment,
        standing: Standing,
        lease: Lease,
        memory: &mut Memory,
    ) -> Result<Finished, Abandoned> {
        let plan = LocalPlan::read(order).map_err(|error| self.not_made_for(&error))?;
        if plan.is_private() {
            self.check_unanswered(standing, &plan.seed)?;
        }
        let seed_checked = plan.privacy.check_seed(&plan.seed, self.simulated);
        seed_checked.map_err(|error| self.not_made_for(&error))?;
        let pass = Pass::new(order, &plan, self.simulated);
        self.check_limits(&pass).await?;
        if plan.is_private() {
            let job = self.accept(order, plan, pass, lease.until, memory).await?;
            return self.answer_whatever_comes(job, lease).await;
        }
        let misfit = |error: Misfit| unfit(error.reason(), error.to_string());
        let form = self.data.form(&plan.task);
        form.map_err(|error| misfit(error.into()))?;
        let purpose = Purpose::Training {
            run_id: order.run_id.clone(),
            round: order.round,
        };
        let examples = self.examples(&plan.task, purpose, self.look().await);
        let examples = examples.await.map_err(failed)?;
        let job = self.accept(order, plan, pass, lease.until, memory).await?;
        let wait = self.decide(&job, examples.len(), lease)?;
        sleep_until((Instant::now() + wait).min(lease.until)).await;
        self.step('[');
        let trained = self
            .environment
            .compute
            .run(move |bench| job.run(examples, bench, None))
            .await;
        trained
            .map_err(|_| failed("crashed"))?
            .map_err(|error| self.not_trained(&error))
    }

    /// How long the conduct has the device wait before it trains.
    pub(crate) fn decide(
        &self,
        job: &TrainingJob,
        examples: usize,
        lease: Lease,
    ) -> Result<Duration, Abandoned> {
        let workload = Workload {
            run_id: &job.run_id,
            round: job.round,
            examples,
            steps: job.plan.steps(examples),
            lease: lease.left(),
        };
        match self.conduct.decide(&workload) {
            Decision::Train => Ok(Duration::ZERO),
            Decision::TrainAfter(wait) => Ok(wait),
            Decision::Abandon(reason) => Err(Abandoned {
                reason,
                ..failed(reason)
            }),
        }
    }

    pub(crate) fn not_trained(&self, error: &TrainingError) -> Abandoned {
        tracing::debug!(device = self.identity.hashed_id(), %error, "training failed");
        failed(error.reason())
    }

    pub(crate) fn not_made_for(&self, error: &TrainingError) -> Abandoned {
        tracing::debug!(device = self.identity.hashed_id(), %error, "assignment refused");
        match error {
            TrainingError::Randomness(_) => failed(error.reason()),
            misfit => unfit(misfit.reason(), misfit.to_string()),
        }
    }
}
