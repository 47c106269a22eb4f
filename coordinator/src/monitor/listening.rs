//! What a monitor hears after a start of the coordinator, before it asks, charges or releases anything.
//!
//! Its devices are heard like those of a run ([`RollCall`]): who was charged for its votes speaks by a ticket
//! of the monitor. Nothing is open that could be given up. So when too few have come back in the longest time
//! it goes on: each window asks as many devices as it needs, and each of them is heard before it is within
//! reach.

use std::time::Duration;

use super::actor::Actor;

/// How often is looked who has come.
const LOOK: Duration = Duration::from_millis(50);

impl Actor {
    /// Waits until enough devices were heard since the start, or the monitor is stopped. A coordinator that
    /// is halted meanwhile goes no further.
    pub(super) async fn listen(&self) {
        while let Some(reason) = self.handle.unheard(self.core()) {
            self.handle.waits_for(reason);
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.handle.stop.cancelled() => break,
            }
        }
        self.handle.waits_for(String::new());
    }
}
