//! Making a folder safe that was put back from a copy.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::Halt;
use crate::CoordinatorError;
use crate::clock::SharedClock;
use crate::core::Core;
use crate::failpoint::NoFailpoint;
use crate::ledger::Ledger;
use crate::run::{Ending, end_run, run_ids};
use crate::store::Batch;

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The epoch that has begun.
    pub epoch: u64,
    /// The epoch before.
    pub former_epoch: u64,
    /// True when a device had proved that the folder was old, or a repair had lost records.
    pub was_halted: bool,
    /// Runs that went on and are failed now.
    pub runs_ended: Vec<String>,
    /// Runs that can't be read. They are failed as well.
    pub runs_damaged: Vec<String>,
    /// Devices that were charged all that their cap left.
    pub devices_charged: u64,
    /// Devices without a cap: what follows for them is marked NOT PRIVATE.
    pub devices_not_private: u64,
}

/// Ends what goes on in a folder, charges or marks every device, and begins a new epoch. Nobody may
/// serve the folder meanwhile. When it is cut off it can be repeated: the new epoch comes last.
///
/// # Errors
/// When the folder is in use or can't be read or written.
pub async fn restore(folder: &Path, clock: SharedClock) -> Result<Restored, CoordinatorError> {
    let nothing = Arc::new(NoFailpoint);
    let core = Core::open(folder, None, clock, NonZeroUsize::MIN, nothing).await?;
    restore_core(&core).await
}

pub(super) async fn restore_core(core: &Core) -> Result<Restored, CoordinatorError> {
    let now_ms = core.clock.now_ms();
    let mut last = Batch::new();
    let newest = core.halt.record().map_or(0, |proof| proof.epoch);
    let epoch = core.epoch.renew(newest, now_ms, &mut last)?;
    Halt::end(&mut last);
    // the one of `core` commits nothing while it is halted
    let ledger = Ledger::open(core.unguarded.clone())?;
    let reason = format!(
        "the data folder was restored from a copy (epoch {epoch}): the noise of this run must not be \
         used again; start it anew"
    );
    let (mut ended, mut damaged) = (Vec::new(), Vec::new());
    for id in run_ids(core)? {
        match end_run(core, &id, &reason).await {
            Ok(Ending::Ended) => ended.push(id.to_string()),
            Ok(Ending::WasOver) => {}
            Ok(Ending::Noted) => damaged.push(id.to_string()),
            Err(error) => {
                tracing::error!(run = %id, %error, "this run can't be read");
                damaged.push(id.to_string());
            }
        }
    }
    let forfeited = ledger.forfeit(&core.fleet.all(), epoch, now_ms).await?;
    core.unguarded.commit(last).await?;
    Ok(Restored {
        epoch,
        former_epoch: core.epoch.number(),
        was_halted: core.halt.is_halted(),
        runs_ended: ended,
        runs_damaged: damaged,
        devices_charged: forfeited.charged,
        devices_not_private: forfeited.marked,
    })
}
