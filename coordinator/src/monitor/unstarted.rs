//! Monitors that are set aside: their records are damaged, or they could not be started.

use tributary_proto::v1::{self, MonitorState};
use tributary_proto::{MonitorId, RunId};

use crate::core::Core;
use crate::names::{monitor_of, run_of};
use crate::quarantine::Cause;

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
    let cause = core.quarantine.cause(KIND, &monitor_of(run.as_str()))?;
    Some(format!("its monitor does not work: {}", sentence(&cause)))
}

pub(super) fn shown(id: &str, cause: &Cause) -> v1::Monitor {
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
