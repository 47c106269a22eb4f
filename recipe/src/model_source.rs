//! Where training starts.

use serde::{Deserialize, Serialize};
use tributary_model::ModelSpec;

/// Where training starts: a registered version, or an architecture with fresh weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ModelSource {
    /// A registered model version.
    Version(VersionSource),
    /// An architecture, initialised from the run's key.
    Architecture(ModelSpec),
}

impl<'de> Deserialize<'de> for ModelSource {
    /// Decides by the key `version`: trying one shape after the other could not name a wrong key.
    fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(source)?;
        let read = if value.get("version").is_some() {
            serde_json::from_value(value).map(Self::Version)
        } else {
            serde_json::from_value(value).map(Self::Architecture)
        };
        read.map_err(|error| serde::de::Error::custom(format!("model: {error}")))
    }
}

/// A registered model version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionSource {
    /// Digest of the version, 64 hex characters, or a unique beginning of at least 6.
    pub version: String,
}
