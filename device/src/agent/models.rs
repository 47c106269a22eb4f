//! The models that orders work on: kept from the last order, or fetched.

use std::sync::Arc;

use tokio::time::Instant;
use tributary_model::Digest;

use crate::agent::abandoned::{Abandoned, failed};
use crate::agent::core::Core;
use crate::agent::recent::Recent;
use crate::install::library::LoadedModel;
use crate::training::compute::Scratch;

/// Models that a device keeps: the one it trains from and the one it is monitored with.
const MODELS_KEPT: usize = 2;
/// Bytes of a model file beside its weights.
pub(crate) const FILE_OVERHEAD: u64 = 1 << 20;

impl Core {
    /// A model by digest: kept, or fetched.
    pub(crate) async fn model(
        &self,
        digest: &str,
        limit: u64,
        deadline: Instant,
        recent: &mut Recent,
    ) -> Result<Arc<LoadedModel>, Abandoned> {
        let digest: Digest = digest.parse().map_err(|_| failed("bad_digest"))?;
        if let Some(position) = recent
            .models
            .iter()
            .position(|model| model.digest == digest)
            && let Some(model) = recent.models.remove(position)
        {
            recent.models.push_back(Arc::clone(&model));
            return Ok(model);
        }
        let fetched = self.link().fetch(digest, limit, deadline).await;
        let bytes = fetched.map_err(|error| Abandoned {
            reason: "network",
            ..failed(error.reason())
        })?;
        let environment = Arc::clone(&self.environment);
        let load = move |_: &mut Scratch| environment.library.model(digest, &bytes);
        let loaded = self
            .environment
            .compute
            .run(load)
            .await
            .map_err(|_| failed("crashed"))?;
        let model = loaded.map_err(|error| {
            tracing::warn!(device = self.identity.hashed_id(), %error, "model can't be read");
            failed("model")
        })?;
        recent.models.push_back(Arc::clone(&model));
        while recent.models.len() > MODELS_KEPT {
            recent.models.pop_front();
        }
        Ok(model)
    }
}
