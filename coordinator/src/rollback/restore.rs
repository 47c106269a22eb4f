//! Making a folder safe that was put back from a copy.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::CoordinatorError;
use crate::clock::SharedClock;
use crate::core::Core;
use crate::epoch::{Halt, Unfinished};
use crate::failpoint::NoFailpoint;
use crate::ledger::{Ledger, PastCaps};
use crate::run::{Ending, end_run, run_ids};
use tributary_store::{Batch, Expect, Table};

/// Where it is kept that caps bound nothing of what was lost.
const CAPS_VOID: &[u8] = b"restored-without-caps";

impl Core {
    /// Whether the caps that this folder knows bound what was lost with its past.
    ///
    /// # Errors
    /// When the store can't be read.
    pub(super) fn caps_of_the_past(&self) -> Result<PastCaps, CoordinatorError> {
        let void = self.store.get(Table::Meta, CAPS_VOID)?;
        Ok(void.map_or(PastCaps::Held, |_| PastCaps::Void))
    }
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The epoch that has begun.
    pub epoch: u64,
    /// The epoch before.
    pub former_epoch: u64,
    /// True when a device had proved that the folder was old, a repair had lost records, or an earlier
    /// restore was cut off.
    pub was_halted: bool,
    /// Runs that went on and are failed now.
    pub runs_ended: Vec<String>,
    /// Runs that can't be read. They are failed as well.
    pub runs_damaged: Vec<String>,
    /// Devices that were charged all that their cap left.
    pub devices_charged: u64,
    /// Devices without a cap, or whose caps are void: what follows for them is marked NOT PRIVATE.
    pub devices_not_private: u64,
}

/// Ends what goes on in a folder, charges or marks every device, and begins a new epoch. Nobody may
/// serve the folder meanwhile. When it is cut off the folder is halted until it is repeated: the new epoch
/// comes last.
///
/// # Errors
/// When the folder is in use or can't be read or written.
pub async fn restore(
    folder: &Path,
    clock: SharedClock,
    caps: PastCaps,
) -> Result<Restored, CoordinatorError> {
    let nothing = Arc::new(NoFailpoint);
    let core = Core::open(folder, None, clock, NonZeroUsize::MIN, nothing).await?;
    restore_core(&core, caps).await
}

pub(super) async fn restore_core(
    core: &Core,
    caps: PastCaps,
) -> Result<Restored, CoordinatorError> {
    let now_ms = core.clock.now_ms();
    let mut last = Batch::new();
    let newest = core.halt.record().map_or(0, |proof| proof.epoch);
    let epoch = core.epoch.renew(newest, now_ms, &mut last)?;
    Halt::end(&mut last);
    let caps = Unfinished::begin(&*core.unguarded, (epoch, now_ms), caps).await?;
    if caps == PastCaps::Void {
        last.put_json(Table::Meta, CAPS_VOID, &epoch, Expect::Any)?;
    }
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
    let devices = core.fleet.all();
    let forfeited = ledger.forfeit(&devices, caps, epoch, now_ms).await?;
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
