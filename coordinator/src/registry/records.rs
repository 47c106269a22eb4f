//! What is kept of versions and builds.

use serde::{Deserialize, Serialize};
use tributary_model::{Digest, Marks};

/// What is kept of a model version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// Digest of its file.
    pub digest: Digest,
    /// Name of its architecture.
    pub name: String,
    /// The version that it came from.
    pub parent: Option<Digest>,
    /// The run that made it; empty when imported.
    pub run_id: String,
    /// The round that made it.
    pub round: u32,
    /// Number of parameters.
    pub parameters: u64,
    /// When, in milliseconds since 1970.
    pub created_ms: u64,
    /// Regions that it is meant for; empty for all.
    pub regions: Vec<String>,
    /// What it has to be read with.
    #[serde(default)]
    pub marks: Marks,
    /// Whether it is kept whatever its age.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
}

/// What is kept of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRecord {
    /// Digest of its bytes.
    pub digest: Digest,
    /// The model version.
    pub model: Digest,
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
    /// How this variant was chosen.
    pub decision: String,
    /// Devices that it was offered to.
    pub offered_to: u64,
    /// Devices that run it.
    pub installed_on: u64,
    /// Devices that refused it.
    pub failed_on: u64,
    /// Those of its model, and of its own calibration.
    #[serde(default)]
    pub marks: Marks,
}
