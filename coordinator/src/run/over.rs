//! Runs that no task owns, as the store has them: over, or damaged.

use tributary_proto::RunId;
use tributary_proto::v1;

use super::RunView;
use super::journal::{Journal, RunRecord};
use crate::CoordinatorError;
use crate::core::Core;
use crate::quarantine::Cause;

impl Core {
    /// Says of a finished run that its version is damaged, where that is known.
    pub(super) fn with_damage(&self, mut run: v1::Run) -> v1::Run {
        if let Some(cause) = self.quarantine.cause("object", &run.model_digest) {
            let before = if run.reason.is_empty() { "" } else { "; " };
            run.reason = format!("{}{before}{}", run.reason, cause.shown());
        }
        run
    }

    pub(super) async fn over_run(&self, id: &RunId) -> Result<v1::Run, CoordinatorError> {
        match RunRecord::read(self, id)?.over {
            Some(over) => over.message(),
            None => Ok(self.over_view(id).await?.run),
        }
    }

    pub(super) async fn over_view(&self, id: &RunId) -> Result<RunView, CoordinatorError> {
        let record = RunRecord::read(self, id)?;
        if record.is_note()
            && let Some(over) = &record.over
        {
            return Ok(RunView {
                run: over.message()?,
                ..RunView::default()
            });
        }
        let (_, state) = Journal::recover(self, id).await?;
        let mut view = RunView::default();
        view.update(&state, "");
        Ok(view)
    }

    /// What can be said of a run whose records can't be read: the ledger still knows what it spent.
    pub(super) fn damaged_run(&self, id: &RunId, cause: &Cause) -> v1::Run {
        v1::Run {
            run_id: id.to_string(),
            state: v1::RunState::Quarantined.into(),
            reason: format!(
                "{}; nothing of it was changed: put the data folder back from a backup, or end the run \
                 for good with `tributary run stop {id}`",
                cause.shown()
            ),
            privacy: self.spent_by(id),
            ..v1::Run::default()
        }
    }
}
