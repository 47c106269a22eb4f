//! Accepting an assignment: what it needs is fetched, and all that does not depend on the data is checked.

use std::sync::Arc;

use tokio::time::Instant;
use tributary_model::{Digest, LocalAlgorithm, Personalisation};
use tributary_proto::v1::Assignment;

use crate::agent::abandoned::{Abandoned, failed, unfit};
use crate::agent::core::Core;
use crate::agent::job::TrainingJob;
use crate::agent::models::FILE_OVERHEAD;
use crate::agent::recent::Recent;
use crate::install::library::LoadedModel;
use crate::state::permit::Permit;
use crate::training::error::TrainingError;
use crate::training::fit::{Misfit, check_model};
use crate::training::plan::LocalPlan;

impl Core {
    /// Fetches what the plan needs and checks all that does not depend on the data.
    pub(crate) async fn accept(
        self: &Arc<Self>,
        order: &Assignment,
        plan: LocalPlan,
        pass: Permit,
        deadline: Instant,
        recent: &mut Recent,
    ) -> Result<TrainingJob, Abandoned> {
        let misfit = |error: Misfit| unfit(error.reason(), error.to_string());
        let form = self.data.form(&plan.task);
        let form = form.map_err(|error| misfit(error.into()))?;
        let models = self.models(order, &plan, deadline, recent).await?;
        let control = self.control(order, &plan, deadline).await?;
        let job = TrainingJob {
            core: Arc::clone(self),
            run_id: order.run_id.clone(),
            round: order.round,
            attempt: order.attempt,
            plan,
            pass,
            models,
            control,
        };
        job.check().map_err(|error| self.not_made_for(&error))?;
        for model in &job.models {
            check_model(&model.graph, form).map_err(misfit)?;
        }
        Ok(job)
    }

    /// The models that the plan works on: one per cluster, or the assigned one alone.
    async fn models(
        &self,
        order: &Assignment,
        plan: &LocalPlan,
        deadline: Instant,
        recent: &mut Recent,
    ) -> Result<Vec<Arc<LoadedModel>>, Abandoned> {
        let limit = plan.parameters * 4 + FILE_OVERHEAD;
        let digests = match plan.personalisation {
            Some(Personalisation::Ifca { .. }) => &order.auxiliary_digests[..],
            _ => std::slice::from_ref(&order.model_digest),
        };
        let mut models = Vec::with_capacity(digests.len());
        for digest in digests {
            models.push(self.model(digest, limit, deadline, recent).await?);
        }
        Ok(models)
    }

    /// The server's control variate as little-endian values; empty when the plan needs none.
    async fn control(
        &self,
        order: &Assignment,
        plan: &LocalPlan,
        deadline: Instant,
    ) -> Result<Vec<f32>, Abandoned> {
        let digest = match (plan.algorithm, order.auxiliary_digests.first()) {
            (LocalAlgorithm::Scaffold, Some(digest)) => digest,
            _ => return Ok(Vec::new()),
        };
        let digest: Digest = digest.parse().map_err(|_| failed("bad_digest"))?;
        let fetched = self
            .link()
            .fetch(digest, plan.parameters * 4, deadline)
            .await;
        let bytes = fetched.map_err(|error| Abandoned {
            reason: "network",
            ..failed(error.reason())
        })?;
        let (values, rest) = bytes.as_chunks::<4>();
        if values.len() as u64 != plan.parameters || !rest.is_empty() {
            let problem = format!("must name a control variate of {} values", plan.parameters);
            let field = "auxiliary_digests";
            return Err(self.not_trained(&TrainingError::Plan { field, problem }));
        }
        Ok(values.iter().map(|raw| f32::from_le_bytes(*raw)).collect())
    }
}
