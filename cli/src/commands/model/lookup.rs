//! Finding a model version by its digest.

use anyhow::Result;
use tributary_proto::v1::GetModelRequest;

use crate::client::Coordinator;
use crate::view::ModelView;

/// The version that a digest or its beginning names, with its builds.
pub async fn get(coordinator: &Coordinator, digest: &str) -> Result<ModelView> {
    let request = GetModelRequest {
        digest: digest.to_owned(),
    };
    let answer = coordinator.control().get_model(request).await;
    Ok(answer
        .map_err(|status| coordinator.failure(&status))?
        .into_inner()
        .into())
}
