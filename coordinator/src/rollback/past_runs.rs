//! Runs that are over, as far as devices still show tickets of them.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tributary_proto::{DeviceId, RunId};

use crate::CoordinatorError;
use crate::core::Core;
use crate::engine::{LastPlace, RunState};
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
    /// From where on it has forgotten who was counted; none when it knows all of them.
    forgotten_from: Option<Place>,
    /// Where each device took part last, by a hash of its id.
    last_places: HashMap<u64, LastPlace>,
}

impl PastRun {
    pub(super) fn new(state: &RunState, hash: &RandomState) -> Self {
        let past = state.participations.iter();
        Self {
            id: state.id.clone(),
            place: state.place(),
            lineage: state.lineage.clone(),
            forgotten_from: state.forgotten_from(),
            last_places: past
                .map(|(device, past)| (hash.hash_one(device), past.last_place()))
                .collect(),
        }
    }

    /// Whether a witness proves what the run does not know. Receipts of what it has forgotten prove nothing,
    /// nor do those of runs of before starts were told apart.
    pub(super) fn contradicts(&self, device: u64, witness: &Witness) -> bool {
        let place = witness.place;
        if place > self.place || self.lineage.of(place) != witness.incarnation {
            return true;
        }
        let is_kept = self.forgotten_from.is_none_or(|from| place < from);
        let is_known = !self.lineage.is_empty() && is_kept;
        let last = self.last_places.get(&device).copied().unwrap_or_default();
        witness.counted.is_some() && is_known && last.is_before(place)
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
    /// state is gone or was given up only the ledger can be compared: what that does not contradict proves
    /// nothing, and keeps no device out.
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
            Err(error) if is_unreadable(&error) && was_not_charged(core, run, witness) => {
                return Ok(true);
            }
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
            let takes = past.last_places.len() + 1;
            let fits = takes <= room;
            room = if fits { room - takes } else { 0 };
            fits
        });
    }
}

/// True when the records of a run are there and can't be read.
fn is_unreadable(error: &CoordinatorError) -> bool {
    match error {
        CoordinatorError::Blob(BlobError::NotFound { .. } | BlobError::Corrupt { .. })
        | CoordinatorError::Misfit { .. } => true,
        CoordinatorError::Store(error) => error.is_damage(),
        _ => false,
    }
}

/// True when the ledger contradicts an order or receipt of a run: a round is asked only once the one before
/// it is published, which is charged with its number in every mode, at no price without privacy. Where devices
/// add the noise the round itself is charged before it is asked.
fn was_not_charged(core: &Core, run: &RunId, witness: &Witness) -> bool {
    let newest = core.ledger.newest_round(run.as_str());
    newest.is_some_and(|newest| newest.saturating_add(1) < witness.place.number)
}
