//! Giving up a run that is set aside.

use tributary_proto::RunId;
use tributary_proto::v1::watch_response;

use super::ending::{DELTA, end_or_note};
use super::journal::RunRecord;
use super::runs::Runs;
use crate::CoordinatorError;
use crate::names::has_monitor;
use crate::quarantine::Cause;

/// Ends a run for good that is set aside, whether its records can be read or not: it is listed as failed,
/// what it charged stays charged, and what is reserved for it is given back.
///
/// # Errors
/// When it is not set aside, or a store refuses; then it can be repeated.
pub async fn give_up(runs: &Runs, id: &RunId) -> Result<(), CoordinatorError> {
    let core = &runs.core;
    // of two operators the second hears that it is over
    let _turn = runs.starting.lock().await;
    let cause = match runs.catalogue.handle(id) {
        Err(CoordinatorError::SetAside { cause, code, .. }) => Cause {
            code,
            sentence: cause,
        },
        Ok(_) => {
            let sentence = format!("run {id} goes on again: stop it once more");
            return Err(CoordinatorError::Over(sentence));
        }
        Err(error) => return Err(error),
    };
    let reason = format!(
        "ended by an operator while it was set aside as damaged: {}",
        cause.shown()
    );
    end_or_note(core, &*core.store, id, &reason).await?;
    // a crash may come here: `recover_runs` gives back what runs that are over have reserved
    if !has_monitor(&*core.store, id)? {
        core.ledger.release(id.as_str(), None).await?;
    }
    let over = RunRecord::read(core, id)?.over;
    let (started_ms, delta) = over.map_or((0, DELTA), |over| (over.started_ms, over.delta));
    runs.catalogue.over(id.clone(), started_ms, delta);
    core.quarantine.remove("run", id.as_str());
    let view = runs.run_view(id).await?;
    core.tell(watch_response::Event::Run(view.run));
    Ok(())
}
