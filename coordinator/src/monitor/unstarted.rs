//! Monitors that are set aside: their records are damaged, or they could not be started.

use tributary_proto::v1::{self, MonitorState};
use tributary_proto::{MonitorId, RunId};

use super::record::{End, Header, MonitorRecord};
use super::{id_of, run_of};
use crate::CoordinatorError;
use crate::core::Core;
use crate::quarantine::Cause;
use crate::run::stored_state;
use crate::store::Batch;

/// How they are called where things are set aside.
pub const KIND: &str = "monitor";

/// The monitor of this id, if it is set aside.
pub fn set_aside(core: &Core, id: &MonitorId) -> Option<v1::Monitor> {
    let cause = core.quarantine.cause(KIND, id.as_str())?;
    Some(shown(id.as_str(), &cause))
}

/// All that are set aside.
pub fn all_set_aside(core: &Core) -> Vec<v1::Monitor> {
    let causes = core.quarantine.of_kind(KIND).into_iter();
    causes.map(|(id, cause)| shown(&id, &cause)).collect()
}

/// Why a run has no monitor that works, as a sentence with the remedy.
pub fn problem_of(core: &Core, run: &RunId) -> Option<String> {
    let cause = core.quarantine.cause(KIND, &id_of(run.as_str()))?;
    Some(format!("its monitor does not work: {}", sentence(&cause)))
}

fn shown(id: &str, cause: &Cause) -> v1::Monitor {
    v1::Monitor {
        monitor_id: id.to_owned(),
        run_id: run_of(id).to_owned(),
        state: MonitorState::Quarantined.into(),
        reason: sentence(cause),
        ..v1::Monitor::default()
    }
}

fn sentence(cause: &Cause) -> String {
    format!(
        "{}; it is tried again at the next start of the coordinator, and what is reserved for it stays so \
         until then or `tributary monitor stop`",
        cause.shown()
    )
}

/// Gives up a monitor that could not be started: it is kept as one that was stopped, and what was reserved
/// for it is given back. Nothing happens to one that is not set aside, or whose records are there.
///
/// # Errors
/// When the store refuses; then it can be repeated.
pub async fn give_up(core: &Core, id: &MonitorId) -> Result<(), CoordinatorError> {
    let is_set_aside = core.quarantine.cause(KIND, id.as_str()).is_some();
    if !is_set_aside || MonitorRecord::exists(core, id)? {
        return Ok(());
    }
    let run_id: RunId = run_of(id.as_str()).parse()?;
    let header = Header {
        note: "it could not be started".to_owned(),
        end: Some(End {
            stopped: true,
            unix_ms: core.clock.now_ms(),
        }),
        ..Header::new(
            id.clone(),
            run_id.clone(),
            stored_state(core, &run_id).await?.spec,
        )
    };
    let mut batch = Batch::new();
    let regions = Vec::new();
    MonitorRecord { header, regions }.put(&mut batch)?;
    core.store.commit(batch).await?;
    // a crash may come here: `recover` gives back what ended monitors have reserved
    core.ledger.release(run_id.as_str(), None).await?;
    core.quarantine.remove(KIND, id.as_str());
    Ok(())
}
