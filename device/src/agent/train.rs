//! From an assignment to an update: the plan is read, the limits are checked, the data are looked at.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tributary_proto::v1::Assignment;

use crate::agent::abandoned::{Abandoned, failed, unfit};
use crate::agent::core::Core;
use crate::agent::job::{Finished, TrainingJob};
use crate::agent::lease::Lease;
use crate::agent::recent::Recent;
use crate::agent::standing::Standing;
use crate::state::participation::ParticipationRequest;
use crate::state::permit::Permit;
use crate::training::data::Purpose;
use crate::training::error::TrainingError;
use crate::training::fit::Misfit;
use crate::training::hooks::{Decision, Workload};
use crate::training::plan::LocalPlan;

impl Core {
    /// From an assignment to an encoded update. What comes after the job is made looks at the data: under
    /// privacy none of it decides whether, when or at what length the device answers.
    pub(crate) async fn train(
        self: &Arc<Self>,
        order: &Assignment,
        standing: Standing,
        lease: Lease,
        recent: &mut Recent,
    ) -> Result<Finished, Abandoned> {
        let plan = LocalPlan::read(order).map_err(|error| self.not_made_for(&error))?;
        if plan.is_private() {
            self.check_unanswered(standing, &plan.seed)?;
        }
        let seed_checked = plan.privacy.check_seed(&plan.seed, self.simulated);
        seed_checked.map_err(|error| self.not_made_for(&error))?;
        let pass = self.pass(order, &plan);
        self.check_limits(&pass).await?;
        if plan.is_private() {
            let job = self.accept(order, plan, pass, lease.until, recent).await?;
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
        let job = self.accept(order, plan, pass, lease.until, recent).await?;
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

    /// What an order asks for. In virtual time there is no pause, because it does not pass.
    fn pass(&self, order: &Assignment, plan: &LocalPlan) -> Permit {
        let mut limits = plan.privacy.limits;
        if self.is_virtual(&plan.seed) {
            limits.min_interval_ms = 0;
        }
        let turn = ParticipationRequest {
            round: order.round,
            attempt: order.attempt,
            limits,
            noised: plan.privacy.is_noised(),
            resent: false,
        };
        let (record, clock) = (
            Arc::clone(&self.record),
            Arc::clone(&self.environment.clock),
        );
        Permit::new(&order.run_id, turn, record, clock)
    }

    /// Whether the device may work for this pass at all.
    async fn check_limits(&self, pass: &Permit) -> Result<(), Abandoned> {
        pass.check().await.map_err(|error| {
            error.log(&self.identity, pass.run_id());
            Abandoned::from(&error)
        })
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

    /// A training that failed, with its reason alone: the rest may tell of the data.
    pub(crate) fn not_trained(&self, error: &TrainingError) -> Abandoned {
        tracing::debug!(device = self.identity.hashed_id(), %error, "training failed");
        failed(error.reason())
    }

    /// A plan that this device can't follow, with what is wrong in it.
    pub(crate) fn not_made_for(&self, error: &TrainingError) -> Abandoned {
        tracing::debug!(device = self.identity.hashed_id(), %error, "assignment refused");
        match error {
            TrainingError::Randomness(_) => failed(error.reason()),
            misfit => unfit(misfit.reason(), misfit.to_string()),
        }
    }
}
