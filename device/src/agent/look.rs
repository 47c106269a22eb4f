//! Looking at the device's data, one piece of work at a time.

use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;

use crate::agent::core::Core;
use crate::training::data::{Examples, Purpose};

/// The one look at the data that a device has at a time. Work that is overdue goes on to the end of its
/// step, and data may keep it longer than that; the next look waits, and is answered in constant form when
/// it comes to nothing by then. Data that never come back hold one thread, not one in each round.
pub(crate) struct Look(#[expect(dead_code, reason = "held, not used")] OwnedMutexGuard<()>);

impl Core {
    /// Waits until no earlier work looks at the data any more.
    pub(crate) async fn look(&self) -> Look {
        Look(Arc::clone(&self.looking).lock_owned().await)
    }

    /// Reads the data; `look` is held until its thread has come back, also when nobody waits for it any more.
    pub(crate) async fn examples(
        self: &Arc<Self>,
        task: &str,
        purpose: Purpose,
        look: Look,
    ) -> Result<Examples, &'static str> {
        let core = Arc::clone(self);
        let asked = task.to_owned();
        let read = self
            .environment
            .compute
            .run(move |_| {
                let _held = look;
                core.read(&asked, &purpose)
            })
            .await;
        read.map_err(|_| "crashed")?
    }

    /// Reads the data, on a thread of the pool.
    pub(crate) fn read(&self, task: &str, purpose: &Purpose) -> Result<Examples, &'static str> {
        match self.data.examples(task, purpose) {
            Ok(examples) if examples.is_empty() => Err("no_examples"),
            Ok(examples) => Ok(examples),
            Err(error) => {
                tracing::debug!(device = self.identity.hashed_id(), %error, "no data");
                Err("no_data")
            }
        }
    }
}
