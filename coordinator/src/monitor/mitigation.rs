//! The playbook: train the region on, build for its devices, offer the builds.

use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;
use tributary_drift::{Circumstances, DriftId, Evidence, Playbook, choose_playbook};
use tributary_model::Digest;
use tributary_proto::RunId;
use tributary_proto::v1::{self, RunState};

use super::at_work::Monitor;
use super::builds::build_for_region;
use super::record::RegionRecord;
use crate::CoordinatorError;
use crate::failpoint::Place;
use crate::run::{Origin, RunView, StartedRun, start_run};
use tributary_recipe::RunSpec;

/// Mitigations of one drift before it is left to the operator.
const MAX_FAILED: u32 = 2;
/// How long a stop of the coordinator may take to be heard of.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a drift calls for, and whether the monitor does it by itself.
///
/// Retraining and personalising are done when the recipe has a `[playbook]` whose `most_runs` are not
/// used up in this region; everything else is advice that an operator sees beside the verdict.
pub fn plan(spec: &RunSpec, region: &RegionRecord, evidence: &Evidence) -> (String, bool) {
    let circumstances = Circumstances {
        failed_attempts: region.failed,
        ..Default::default()
    };
    let playbook = choose_playbook(evidence, &circumstances);
    let retrains = matches!(
        playbook,
        Playbook::RetrainRegion | Playbook::PersonaliseRegion
    );
    if region.builds_failed > 0 {
        // the new model is there: only its builds are made again
        let again = region.builds_failed < MAX_FAILED && spec.playbook.is_some();
        let word = if again {
            "build-again"
        } else {
            "advice: build-again"
        };
        return (word.to_owned(), again);
    }
    let most_runs = spec
        .playbook
        .as_ref()
        .map_or(0, |playbook| playbook.most_runs);
    let acts = retrains && region.begun < most_runs && region.failed < MAX_FAILED;
    let name = match playbook {
        Playbook::Log => "log",
        Playbook::Reweight => "reweight",
        Playbook::RecalibratePrior => "recalibrate-prior",
        Playbook::RetrainRegion => "retrain-region",
        Playbook::PersonaliseRegion => "personalise-region",
        Playbook::SplitModel => "split-model",
        Playbook::RollBack => "roll-back",
        Playbook::Quarantine => "quarantine",
    };
    let name = if acts {
        name.to_owned()
    } else {
        format!("advice: {name}")
    };
    (name, acts)
}

/// One mitigation under way.
pub struct Mitigation {
    pub(super) handle: Monitor,
    pub(super) spec: RunSpec,
    pub(super) run_id: RunId,
    pub(super) index: usize,
    pub(super) drift: DriftId,
    pub(super) model: Digest,
    pub(super) failed: u32,
}

/// How a mitigation ended.
pub struct MitigationOutcome {
    /// Index of the region.
    pub index: usize,
    /// The drift.
    pub drift: DriftId,
    /// The run that it started.
    pub run: Option<RunId>,
    /// The region's new model.
    pub result: Result<Digest, Failure>,
}

/// What a mitigation failed in.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The run could not be started or did not complete.
    #[error("{0}")]
    Run(CoordinatorError),
    /// The run completed; the builds of its model were not made.
    #[error("builds: {0}")]
    Builds(CoordinatorError),
    /// The monitor was stopped. The run may be there, and go on.
    #[error("the monitor was stopped")]
    Stopped,
}

/// The key with which the run of an attempt at a drift is started: whoever comes again finds the same run.
pub fn start_key(run: &RunId, drift: &DriftId, failed: u32) -> String {
    format!("{run}/{drift}/{failed}")
}

impl Mitigation {
    /// Does it. Started again after a crash, it goes on with the same run.
    pub async fn run(self) -> MitigationOutcome {
        let (index, drift) = (self.index, self.drift.clone());
        // a task of its own, so that a crash ends this attempt alone
        let work = AbortOnDropHandle::new(tokio::spawn(async move {
            // only a failpoint of a test has something to say here, by a panic
            let _ = self
                .handle
                .core()
                .failpoint
                .reach(Place::Mitigating, &self.run_id);
            let mut run = None;
            let result = self.mitigate(&mut run).await;
            (run, result)
        }));
        let (run, result) = work.await.unwrap_or_else(|error| {
            let crashed = CoordinatorError::of_task("a playbook", &error);
            (None, Err(Failure::Run(crashed)))
        });
        MitigationOutcome {
            index,
            drift,
            run,
            result,
        }
    }

    async fn mitigate(&self, run: &mut Option<RunId>) -> Result<Digest, Failure> {
        let stop = &self.handle.stop;
        if stop.is_cancelled() {
            return Err(Failure::Stopped);
        }
        // not cut off: whether the run is there must be known
        let child = self.start().await.map_err(Failure::Run)?;
        *run = Some(child.id.clone());
        let model = tokio::select! {
            model = self.completed(&child) => model.map_err(Failure::Run)?,
            () = stop.cancelled() => return Err(Failure::Stopped),
        };
        let Some(builds) = &self.spec.builds else {
            return Ok(model);
        };
        let region = &self.spec.regions[self.index];
        let building = build_for_region(&self.handle, &self.spec, builds, region, model);
        tokio::select! {
            built = building => built.map_err(Failure::Builds)?,
            () = stop.cancelled() => return Err(Failure::Stopped),
        }
        Ok(model)
    }

    /// Starts the region's run, or finds the one that was started before.
    async fn start(&self) -> Result<StartedRun, CoordinatorError> {
        let runs = &self.handle.monitors.runs;
        let key = start_key(&self.run_id, &self.drift, self.failed);
        let region = &self.spec.regions[self.index];
        let model = self.model.to_string();
        let Some(recipe) = self.spec.of_playbook(region, &model) else {
            return Err(CoordinatorError::unknown(
                "playbook",
                "",
                "add one to the recipe",
            ));
        };
        let origin = Origin {
            idempotency_key: key.clone(),
            drift_id: Some(key),
            playbook_of: Some(self.run_id.clone()),
            ..Origin::default()
        };
        let start = || start_run(runs, recipe.clone(), origin.clone());
        let child = self.handle.with_room(start).await?;
        let (id, index) = (child.id.to_string(), self.index);
        self.handle
            .edit(|view| view.regions[index].mitigation_run_id = id);
        Ok(child)
    }

    /// The version that the run ends with.
    async fn completed(&self, child: &StartedRun) -> Result<Digest, CoordinatorError> {
        let ended = self.ended(child).await?;
        if ended.state() != RunState::Completed {
            return Err(CoordinatorError::Over(format!(
                "run {} did not complete: {}",
                ended.run_id, ended.reason
            )));
        }
        ended
            .model_digest
            .parse()
            .map_err(|_| CoordinatorError::Crashed("reading the version of a completed run"))
    }

    /// The run that was started, once it is over or set aside. A coordinator that stops decides nothing:
    /// the mitigation goes on after its next start.
    async fn ended(&self, child: &StartedRun) -> Result<v1::Run, CoordinatorError> {
        let mut follow = child.follow();
        if follow.wait_for(RunView::is_over).await.is_ok() {
            return Ok(follow.borrow().run.clone());
        }
        let stopping = &self.handle.core().stopping;
        // a task that is cancelled with the runtime has no time to say so
        if tokio::time::timeout(FAREWELL, stopping.cancelled())
            .await
            .is_ok()
        {
            return std::future::pending().await;
        }
        Err(CoordinatorError::Crashed("the run of a playbook"))
    }
}
