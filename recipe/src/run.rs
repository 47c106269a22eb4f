//! A training job as the operator wrote it.

use serde::{Deserialize, Serialize};
use tributary_model::Marks;
use tributary_proto::RegionId;

use crate::{
    AggregationSpec, BuildSpec, DriftSpec, ModelSource, PlaybookSpec, PrivacySpec, RoundSpec,
    ServerSpec, TrainingSpec,
};

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

impl RunSpec {
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

    /// Whether the run's own model gets builds; else a playbook makes them later, or nobody does.
    pub fn has_first_builds(&self) -> bool {
        self.builds.is_some() && self.playbook.is_none()
    }

    /// Whether the run leaves a monitor behind when it completes.
    pub fn is_monitored(&self) -> bool {
        self.drift.is_some() || self.has_first_builds()
    }
}
