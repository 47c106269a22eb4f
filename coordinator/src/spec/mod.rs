//! What an operator asks for: a recipe in TOML, checked field by field before anything starts.
//!
//! A [`RunSpec`] says which model is trained where, in how many rounds, under which privacy, and
//! what to do when a region drifts. Unknown keys and wrong types are errors that name the key.

mod aggregation;
mod answers;
mod check;
mod check_monitor;
mod combination;
mod monitor;
mod noise;
mod privacy;
mod training;

use serde::{Deserialize, Serialize};

pub use aggregation::{AggregationMode, AggregationSpec};
pub use check::SpecError;
pub(crate) use check_monitor::check_features;
pub use monitor::{BuildSpec, DriftSpec, PlaybookSpec, QuantityRecipe};
pub use privacy::{AdaptiveClipSpec, AnswerTime, NoiseMechanism, PrivacyMode, PrivacySpec};
pub use training::{RoundSpec, ServerSpec, TrainingSpec};
use tributary_model::{Marks, ModelSpec};
use tributary_proto::RegionId;

/// One training job as the operator wrote it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// A short name, shown in lists.
    pub name: String,
    /// The task whose data devices train on.
    pub task: String,
    /// Regions that take part; each has its own partial sums.
    pub regions: Vec<RegionId>,
    /// Repeats the run to the bit. Noise is then predictable and nothing is private.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Where training starts.
    pub model: ModelSource,
    /// How many rounds, of how many devices.
    pub rounds: RoundSpec,
    /// What a device does.
    pub training: TrainingSpec,
    /// What the coordinator does with the mean update.
    #[serde(default)]
    pub server: ServerSpec,
    /// How updates become one: by their mean, or by a rule that bears hostile devices.
    #[serde(default, skip_serializing_if = "AggregationSpec::is_mean")]
    pub aggregation: AggregationSpec,
    /// Clip, noise and budget.
    pub privacy: PrivacySpec,
    /// What is monitored once the model is trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftSpec>,
    /// What happens when a region drifts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playbook: Option<PlaybookSpec>,
    /// Which builds are made of a regional model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builds: Option<BuildSpec>,
}

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

impl RunSpec {
    /// Parses and checks a recipe.
    ///
    /// # Errors
    /// Names the key, what is wrong with it and what would be right.
    pub fn from_toml(text: &str) -> Result<Self, SpecError> {
        if text.len() > check::MAX_RECIPE_BYTES {
            return Err(SpecError::TooLong {
                bytes: text.len(),
                limit: check::MAX_RECIPE_BYTES,
            });
        }
        let spec: Self = toml::from_str(text).map_err(|error| SpecError::Syntax {
            message: format!("{error}{}", other_recipe(text)),
        })?;
        spec.check()?;
        Ok(spec)
    }

    /// The marks of what the run makes, whatever it starts from.
    pub fn marks(&self) -> Marks {
        Marks {
            seeded: self.is_seeded(),
            no_noise: !self.privacy.mode.has_noise(),
            restored: false,
        }
    }

    /// True when the noise is predictable, so that nothing about the run is private.
    pub fn is_seeded(&self) -> bool {
        self.seed.is_some()
    }
}

/// What to do with a recipe that is meant for another command; empty for none that is known.
fn other_recipe(text: &str) -> &'static str {
    let Ok(table) = text.parse::<toml::Table>() else {
        return "";
    };
    // an experiment has variants, or a kind of its own; a run has neither
    if table.contains_key("variant") || table.contains_key("kind") {
        "this is the recipe of an experiment: start it with `tributary experiment run`"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests;
