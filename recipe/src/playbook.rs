//! The run that a playbook starts.

use tributary_proto::RegionId;

use crate::{AggregationSpec, ModelSource, PrivacySpec, RunSpec, VersionSource};

/// Longest name of a run that a playbook starts.
const NAME: usize = 40;

impl RunSpec {
    /// The recipe of the run that the playbook starts in one region, from the version that drifted; none
    /// without a playbook.
    pub fn of_playbook(&self, region: &RegionId, version: &str) -> Option<Self> {
        let playbook = self.playbook.as_ref()?;
        let mut name = format!("{}-{region}", self.name);
        name.truncate(NAME);
        Some(Self {
            name,
            task: self.task.clone(),
            regions: vec![region.clone()],
            seed: self.seed,
            model: ModelSource::Version(VersionSource {
                version: version.to_owned(),
            }),
            rounds: playbook.rounds.clone(),
            training: playbook.training.clone(),
            server: playbook.server.clone(),
            aggregation: AggregationSpec::default(),
            privacy: PrivacySpec {
                epsilon: playbook.privacy.epsilon.or(self.privacy.epsilon),
                ..playbook.privacy.clone()
            },
            drift: None,
            playbook: None,
            builds: None,
        })
    }
}
