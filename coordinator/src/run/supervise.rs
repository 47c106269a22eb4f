//! Watching over the task of a run: a crash stays in it.
//!
//! ```text
//!  actor ends: over ------------------> catalogue: over; who follows is told
//!              coordinator stops -----> nothing
//!              panic, or memory and --> read the run from disk again, give the attempt up, go on
//!              disk disagree            |-- it can't be read, or crashes again and again: set aside
//! ```
//!
//! What is not durable of the round is dropped with the actor, never merged into what is: devices that
//! wait for a receipt are told to send again. Other runs do not notice.

use std::sync::Arc;

use tokio::time::Instant;
use tributary_proto::RunId;
use tributary_proto::v1::watch_response;

use super::actor::{Actor, End, Ends, Mishap};
use super::journal::Journal;
use super::parts::assemble;
use super::runs::Runs;
use crate::CoordinatorError;
use crate::backoff::Backoff;

/// Crashes in a row, without a round or an attempt ending in between, before a run is set aside.
const MOST_CRASHES: u32 = 8;
/// Crashes in a row of a release before the run fails: it is charged and can't be given up.
pub const MOST_RELEASES: u32 = 3;

/// Runs an actor to the end of its run, through crashes.
pub async fn supervise(runs: Arc<Runs>, mut actor: Actor, ends: Ends) {
    let id = actor.id().clone();
    let mut crashes = Backoff::default();
    let mut ended = ends.ended_rounds();
    loop {
        let (error, suspects) = match tokio::spawn(actor.run()).await {
            Ok(End::Over(state)) => {
                ends.release_all(&runs.core);
                let delta = state.spec.privacy.delta;
                runs.catalogue.over(id, state.started_ms, delta);
                return runs.has_ended(*state);
            }
            Ok(End::Stopping) => return,
            Ok(End::Reload { error, suspects }) => (error, suspects),
            Err(joined) if joined.is_cancelled() => return,
            Err(_) => (CoordinatorError::Crashed("the task of a run"), Vec::new()),
        };
        if ends.ended_rounds() > ended {
            crashes.succeeded();
        }
        ended = ends.ended_rounds();
        if crashes.failed(Instant::now()) {
            let (code, failures) = (error.code(), crashes.failures());
            tracing::error!(run = %id, %error, code, failures, "run is read from disk again");
        }
        if crashes.failures() > MOST_CRASHES {
            return give_up(&runs, &id, &ends, &error);
        }
        if let Some(until) = crashes.until() {
            tokio::time::sleep_until(until).await;
        }
        let mishap = Mishap {
            reason: format!("{error} [{}]", error.code()),
            suspects,
            crashes: crashes.failures(),
        };
        actor = match reload(&runs, &id, &ends, mishap).await {
            Ok(actor) => actor,
            Err(error) => return give_up(&runs, &id, &ends, &error),
        };
    }
}

/// An actor that goes on from what is on disk.
async fn reload(
    runs: &Arc<Runs>,
    id: &RunId,
    ends: &Ends,
    mishap: Mishap,
) -> Result<Actor, CoordinatorError> {
    let core = &runs.core;
    let (journal, state) = Journal::recover(core, id).await?;
    let parts = assemble(core, &state).await?;
    ends.keep_only(core, &state.round.leases);
    let actor = Actor::new(runs.clone(), state, journal, parts, ends.clone());
    Ok(actor.after(mishap))
}

/// Sets the run aside: it does not go on before somebody has looked at it.
fn give_up(runs: &Runs, id: &RunId, ends: &Ends, error: &CoordinatorError) {
    let core = &runs.core;
    ends.release_all(core);
    let cause = runs.set_aside(id, error);
    let run = core.damaged_run(id, &cause);
    ends.view.send_modify(|view| view.set_aside(run, cause));
    core.tell(watch_response::Event::Run(ends.view.borrow().run.clone()));
}
