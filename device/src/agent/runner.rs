//! One device: a session that comes back after every break, and the work it is given.

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::agent::core::Core;
use crate::agent::environment::Environment;
use crate::agent::options::{AgentError, AgentOptions, SessionMode};
use crate::install::installer::ActiveBuild;
use crate::install::slots::SlotError;
use crate::state::identity::Identity;
use crate::state::participation::Participations;
use crate::state::record::RecordError;

/// A device's agent.
pub struct Agent {
    core: Arc<Core>,
    mode: SessionMode,
}

impl Agent {
    /// Makes an agent; checks its active build and reverts to the other slot when it is damaged.
    pub fn new(options: AgentOptions, environment: Arc<Environment>) -> Result<Self, AgentError> {
        let mode = options.mode;
        let core = Arc::new(Core::open(options, environment)?);
        Ok(Self { core, mode })
    }

    /// A view of the agent's slots that stays valid while it runs.
    pub fn watch(&self) -> AgentView {
        AgentView {
            core: Arc::clone(&self.core),
        }
    }

    /// Runs until `stop` becomes true (or its sender is dropped), or the coordinator refuses the
    /// device for good.
    pub async fn run(self, mut stop: watch::Receiver<bool>) -> Result<(), AgentError> {
        let core = &self.core;
        let mut sessions = pin!(core.sessions(self.mode));
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            ended = &mut sessions => return ended,
            () = core.work() => {}
        }
        core.outbox.close();
        timeout(core.environment.timing.farewell, sessions)
            .await
            .unwrap_or(Ok(()))
    }
}

/// Looks at a running agent from outside.
#[derive(Clone)]
pub struct AgentView {
    core: Arc<Core>,
}

impl AgentView {
    /// The device.
    pub fn identity(&self) -> &Identity {
        &self.core.identity
    }

    /// The build that runs now.
    pub fn active_build(&self) -> Option<ActiveBuild> {
        self.core.installer.active()
    }

    /// The parameters that the device would use itself in a personalised run, in the order of the
    /// model's layout. `shared` replaces the shared parameters of the version that it trained from
    /// last. FedPer and FedRep: the shared ones with the personal layers put in; Ditto: the personal
    /// model; APFL: alpha v + (1 - alpha) w; IFCA: the model of the chosen cluster. `None` before
    /// the device has trained in the run since it started, for a run without personalisation, or
    /// when `shared` has another length. May read the memory's files. For the device's owner and for
    /// experiments: these values are as private as the data.
    pub fn personal_model(&self, run_id: &str, shared: Option<&[f32]>) -> Option<Vec<f32>> {
        let seen = self.core.seen.find(run_id)?;
        seen.parameters(&self.core.recall(run_id), shared)
    }

    /// The cluster that the device chose last in an IFCA run, an index into the assignment's models;
    /// `None` as for [`AgentView::personal_model`], 0 for other methods.
    pub fn cluster(&self, run_id: &str) -> Option<u32> {
        Some(self.core.seen.find(run_id)?.cluster)
    }

    /// How often the device took part in a run that limits it, by its own record; none for other
    /// runs. May read the record's files.
    ///
    /// # Errors
    /// When the record can't be read.
    pub fn participations(&self, run_id: &str) -> Result<Participations, RecordError> {
        self.core.record.load(run_id)
    }

    /// Goes back to the build that ran before.
    pub fn revert(&self) -> Result<(), SlotError> {
        let environment = &self.core.environment;
        self.core
            .installer
            .revert(&environment.library, &environment.tally)
    }
}
