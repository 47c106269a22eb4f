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
        let unread = match Journal::recover(self, id).await {
            Ok((_, state)) => {
                let mut view = RunView::default();
                view.update(&state, "");
                return Ok(view);
            }
            Err(unread) => unread,
        };
        let Some(mut run) = short_message(&record) else {
            return Err(unread);
        };
        run.warnings.push(format!(
            "the rounds of this run can't be shown ({}); it is over, and its model versions are kept: put a \
             backup of the data folder back to see them",
            Cause::from(&unread).shown()
        ));
        Ok(RunView {
            run,
            ..RunView::default()
        })
    }

    /// Whether a run is over of which what lists say can be shown, whatever became of its rounds.
    pub(crate) fn shows_without_rounds(&self, id: &RunId) -> bool {
        RunRecord::read(self, id).is_ok_and(|record| short_message(&record).is_some())
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

/// What lists say of a run that is over; none where its record does not have it.
fn short_message(record: &RunRecord) -> Option<v1::Run> {
    let run = record.over.as_ref()?.message().ok()?;
    (!run.run_id.is_empty()).then_some(run)
}
