//! Making contributions durable: partial sums to the vault, one commit, then the receipts.

use std::time::Duration;

use tokio::time::Instant;
use tributary_proto::DeviceId;

use super::Actor;
use crate::CoordinatorError;
use crate::engine::{AssignmentState, DropReason, Event, Segment};
use crate::run::Counted;
use crate::run::collect::{Sealing, segment_id};

/// Shortest time between two seals.
const SEAL_EVERY: Duration = Duration::from_millis(25);
/// Longest time that a contribution waits for its receipt.
const SEAL_AT_MOST: Duration = Duration::from_secs(2);

impl Actor {
    /// True when contributions have waited long enough, fill a record, or are the last.
    pub(super) fn must_seal(&self) -> bool {
        if self.backoff.waits(Instant::now()) {
            return false; // more contributions come in meanwhile, and are sealed with these
        }
        let waited = self
            .open_since
            .is_some_and(|since| since.elapsed() >= self.seal_every)
            || self.core.stopping.is_cancelled();
        let waiting = self.state.round.in_state(AssignmentState::Waiting);
        let last = self.collection.pending() + self.abandoned.len() >= waiting;
        let coming = self.state.round.counted() + self.collection.pending();
        let goal = coming >= self.state.spec.rounds.cohort as usize;
        self.collection.pending() > 0 && (waited || last || self.collection.is_full())
            || goal && self.collection.pending() > 0 && !self.state.spec.is_seeded()
    }

    /// Seals what is open and notes who gave up, in one commit; then closes if that was all.
    pub(super) async fn collect(&mut self) -> Result<(), CoordinatorError> {
        let begun = Instant::now();
        let round = self.state.round.number;
        let sealings = self.collection.write(&self.core, &self.state.id).await?;
        let mut events = Vec::new();
        for sealing in &sealings {
            let marks = self
                .state
                .update_marks(&sealing.segment.contributors, &sealing.digests);
            let segment = Segment {
                marks,
                ..sealing.segment.clone()
            };
            events.push(Event::Sealed { round, segment });
        }
        let noted: Vec<(DeviceId, DropReason)> = self.abandoned.clone().into_iter().collect();
        events.extend(self.dropped(noted.clone()));
        if let Err(error) = self.persist(&events).await {
            // otherwise receipts are dropped with `sealings`, so the devices send again
            if error.is_disk_full() {
                self.collection.put_back(sealings)?;
            }
            return Err(error);
        }
        self.open_since = None;
        self.applied(&events).await?;
        for (device, _) in &noted {
            self.abandoned.remove(device);
        }
        for sealing in sealings {
            self.collection.sealed(&sealing)?;
            let count = sealing.segment.contributors.len() as u64;
            let counters = &self.core.telemetry;
            counters
                .contributions
                .fetch_add(count, std::sync::atomic::Ordering::Relaxed);
            let segment_id = segment_id(&self.state.key, &sealing.segment.digest);
            self.give_receipts(&segment_id, sealing);
        }
        // sealing may cost at most a tenth of the traffic: large models seal less often
        self.seal_every = (begun.elapsed() * 10).clamp(SEAL_EVERY, SEAL_AT_MOST);
        self.close_if_due().await
    }

    /// Tells the contributors of a durable segment that they are counted, and with which update.
    fn give_receipts(&self, segment_id: &str, sealing: Sealing) {
        let updates = sealing.segment.contributors.iter().zip(&sealing.digests);
        for ((device, digest), waiting) in updates.zip(sealing.receipts) {
            let Some(lease) = self.state.round.leases.get(device) else {
                continue; // they are told by the closed channel
            };
            let counted = Counted {
                segment_id: segment_id.to_owned(),
                digest: *digest,
                ticket: self.receipt(device, lease, *digest),
            };
            for waiting in waiting {
                waiting.counted(counted.clone());
            }
        }
    }
}
