//! Runs that are over, as far as devices still show tickets of them.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tributary_proto::{DeviceId, RunId};

use crate::CoordinatorError;
use crate::core::Core;
use crate::engine::{RunState, RunStatus};
use crate::epoch::Witness;
use crate::lineage::{Lineage, Place};
use crate::run::stored_state;
use tributary_store::Table;
use tributary_store::blob::BlobError;

/// Participations that are kept in memory, of all such runs together: each takes 16 bytes. What is beyond is
/// read from disk again when it is asked for.
const KEPT: usize = 1 << 20;

/// What is compared of a run that is over.
#[derive(Debug)]
pub struct PastRun {
    id: RunId,
    /// Its last round and attempt.
    place: Place,
    lineage: Lineage,
    completed: bool,
    /// The last round of each device that was counted, by a hash of its id.
    last_rounds: HashMap<u64, u32>,
}

impl PastRun {
    fn new(state: &RunState, hash: &RandomState) -> Self {
        let past = state.participations.iter();
        Self {
            id: state.id.clone(),
            place: state.place(),
            lineage: state.lineage.clone(),
            completed: state.status == RunStatus::Completed,
            last_rounds: past
                .map(|(device, past)| (hash.hash_one(device), past.last_round))
                .collect(),
        }
    }

    /// Whether a witness proves what the run does not know. Who was counted in the last round of one that did
    /// not complete is forgotten, and so it is of runs of before starts were told apart: their receipts
    /// prove nothing.
    fn contradicts(&self, device: u64, witness: &Witness) -> bool {
        let place = witness.place;
        if place > self.place || self.lineage.of(place) != witness.incarnation {
            return true;
        }
        let is_known = !self.lineage.is_empty() && (place < self.place || self.completed);
        let last = self.last_rounds.get(&device).copied().unwrap_or(0);
        witness.counted.is_some() && is_known && u64::from(last) < place.number
    }
}

/// The runs that devices showed last, newest first.
#[derive(Default)]
pub struct PastRuns {
    kept: Mutex<VecDeque<Arc<PastRun>>>,
    hash: RandomState,
}

impl PastRuns {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<PastRun>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a witness about a run that is not at work proves what the disk does not know. Of one whose
    /// state is gone or was given up nothing can be compared: it proves nothing, and keeps no device out.
    ///
    /// # Errors
    /// When the run's record is damaged, or a store can't be read.
    pub(super) async fn contradict(
        &self,
        core: &Core,
        run: &RunId,
        (device, witness): (&DeviceId, &Witness),
    ) -> Result<bool, CoordinatorError> {
        let past = match self.find(core, run).await {
            Err(CoordinatorError::Blob(BlobError::NotFound { .. } | BlobError::Corrupt { .. }))
            | Err(CoordinatorError::Misfit { .. }) => return Ok(false),
            found => found?,
        };
        let device = self.hash.hash_one(device);
        Ok(past.is_none_or(|past| past.contradicts(device, witness)))
    }

    async fn find(
        &self,
        core: &Core,
        run: &RunId,
    ) -> Result<Option<Arc<PastRun>>, CoordinatorError> {
        if let Some(known) = self.lock().iter().find(|past| past.id == *run) {
            return Ok(Some(known.clone()));
        }
        let key = run.as_str().as_bytes();
        if core.store.get(Table::Runs, key)?.is_none() {
            return Ok(None);
        }
        let state = stored_state(core, run).await?;
        let past = Arc::new(PastRun::new(&state, &self.hash));
        // one that is set aside may go on after it was looked at
        if !state.is_running() {
            self.keep(past.clone());
        }
        Ok(Some(past))
    }

    fn keep(&self, past: Arc<PastRun>) {
        let mut kept = self.lock();
        kept.retain(|other| other.id != past.id);
        kept.push_front(past);
        let mut room = KEPT;
        kept.retain(|past| {
            let takes = past.last_rounds.len() + 1;
            let fits = takes <= room;
            room = if fits { room - takes } else { 0 };
            fits
        });
    }
}
