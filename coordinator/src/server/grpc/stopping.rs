//! What an operator is told who stops a run that can't be stopped.

use tributary_proto::RunId;
use tributary_proto::v1;

use super::Control;
use crate::engine::Reject;
use crate::error::CoordinatorError;
use crate::names::has_monitor;

impl Control {
    /// What to say of a run that is not known: a monitor has a verb of its own.
    fn monitor_instead(&self, name: &str, error: CoordinatorError) -> CoordinatorError {
        let run = crate::names::run_of(name);
        let is_monitor = run != name
            && run.parse().is_ok_and(|run| {
                // one that is over is on disk alone
                has_monitor(&*self.0.core.store, &run).unwrap_or(false)
            });
        if !is_monitor {
            return error;
        }
        CoordinatorError::Over(format!(
            "{name} is a monitor, not a run: end it with `tributary monitor stop {name}`"
        ))
    }

    /// What to say to an operator who stops a run that can't be stopped. That of one that has ended may
    /// still have a monitor at work.
    pub(super) async fn why_not_stopped(
        &self,
        run: &RunId,
        error: CoordinatorError,
    ) -> CoordinatorError {
        if !matches!(error, CoordinatorError::Reject(Reject::RunOver)) {
            return self.monitor_instead(run.as_str(), error);
        }
        let view = match self.view(run.as_str()).await {
            Ok(view) => view,
            Err(error) => return error,
        };
        let state = match view.run.state() {
            v1::RunState::Completed => "completed",
            v1::RunState::Failed => "failed",
            _ => "stopped",
        };
        let name = run.to_string();
        let monitor = crate::names::monitor_of(&name).parse().ok();
        let watched = monitor.is_some_and(|id| self.0.monitors.get(&id).is_some());
        let remedy = if watched {
            format!("its monitor is at work; end it with `tributary monitor stop {name}`")
        } else {
            "there is nothing left to stop".to_owned()
        };
        CoordinatorError::Over(format!("the run is over ({state}): {remedy}"))
    }
}
