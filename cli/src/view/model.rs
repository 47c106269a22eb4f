//! Model versions and builds.

use serde::Serialize;
use tributary_proto::v1;

/// A model version; `builds` is null in lists.
#[derive(Debug, Clone, Serialize)]
pub struct ModelView {
    /// Its digest.
    pub digest: String,
    /// Name of its architecture.
    pub name: String,
    /// The version that it came from; empty for a first one.
    pub parent: String,
    /// The run that made it; empty when imported.
    pub run: String,
    /// The round that made it.
    pub round: u32,
    /// Number of parameters.
    pub parameters: u64,
    /// Milliseconds since 1970.
    pub created_unix_ms: u64,
    /// Regions that it is meant for; empty for all.
    pub regions: Vec<String>,
    /// `SEEDED` where its noise is known, `NO NOISE` where there was none, `RESTORED` where earlier spending
    /// was lost with a data folder, also in what it comes from.
    pub marks: Vec<String>,
    /// Whether it is kept whatever its age.
    pub pinned: bool,
    /// Its builds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub builds: Option<Vec<BuildView>>,
}

/// A build of a model for one profile.
#[derive(Debug, Clone, Serialize)]
pub struct BuildView {
    /// Digest of its bytes.
    pub digest: String,
    /// The model version.
    pub model_version: String,
    /// The region that it is offered to.
    pub region: String,
    /// The device profile.
    pub profile: String,
    /// Its format.
    pub format: String,
    /// The variant.
    pub variant: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// RAM that it needs, in bytes.
    pub arena_bytes: u64,
    /// Devices that it was offered to.
    pub offered_to: u64,
    /// Devices that run it.
    pub installed_on: u64,
    /// Devices that refused it.
    pub failed_on: u64,
    /// How this variant was chosen.
    pub decision: String,
    /// `SEEDED` where its noise is known, `NO NOISE` where there was none, `RESTORED` where earlier spending
    /// was lost with a data folder, also in what it comes from.
    pub marks: Vec<String>,
}

impl From<v1::Model> for ModelView {
    fn from(model: v1::Model) -> Self {
        Self {
            digest: model.digest,
            name: model.name,
            parent: model.parent,
            run: model.run_id,
            round: model.round,
            parameters: model.parameters,
            created_unix_ms: model.created_unix_ms,
            regions: model.regions,
            marks: model.marks,
            pinned: model.pinned,
            builds: None,
        }
    }
}

impl From<v1::Build> for BuildView {
    fn from(build: v1::Build) -> Self {
        Self {
            digest: build.digest,
            model_version: build.model_digest,
            region: build.region,
            profile: build.profile,
            format: build.format,
            variant: build.variant,
            bytes: build.bytes,
            arena_bytes: build.arena_bytes,
            offered_to: build.offered_to,
            installed_on: build.installed_on,
            failed_on: build.failed_on,
            decision: build.decision,
            marks: build.marks,
        }
    }
}

impl From<v1::GetModelResponse> for ModelView {
    fn from(answer: v1::GetModelResponse) -> Self {
        let builds = answer.builds.into_iter().map(BuildView::from).collect();
        Self {
            builds: Some(builds),
            ..answer.model.unwrap_or_default().into()
        }
    }
}
