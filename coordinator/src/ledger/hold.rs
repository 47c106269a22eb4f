//! The ledger while nobody else charges: its terms are changed, or compared with what a run would need.

use std::sync::{Arc, Mutex, MutexGuard};

use tributary_proto::RegionId;

use super::change::Change;
use super::headroom::{Headroom, headroom};
use super::state::LedgerState;
use super::{Ledger, lock, terms};
use crate::CoordinatorError;
use crate::commit_then::commit_then;
use tributary_store::{Batch, Store};

/// The ledger while nobody else charges or changes its terms. It owns its turn, so that it can go along into
/// a task that ends what its maker began.
pub struct Hold {
    store: Arc<dyn Store>,
    books: Arc<Mutex<LedgerState>>,
    _turn: tokio::sync::OwnedMutexGuard<()>,
}

impl Ledger {
    /// Waits until nobody charges, and keeps it so.
    pub async fn hold(&self) -> Hold {
        let turn = self.charging.clone().lock_owned().await;
        Hold {
            store: self.store.clone(),
            books: self.books.clone(),
            _turn: turn,
        }
    }

    /// Ends a part of a run's reservation, or with none the whole; durable when this returns.
    ///
    /// # Errors
    /// When the store refuses; then it stays reserved.
    pub async fn release(&self, run: &str, part: Option<&str>) -> Result<(), CoordinatorError> {
        let hold = self.hold().await;
        if !self.lock().reservations.contains_key(run) {
            return Ok(());
        }
        hold.commit(
            vec![Change::Release(run.to_owned(), part.map(str::to_owned))],
            Batch::new(),
        )
        .await
    }
}

impl Hold {
    pub(super) fn lock(&self) -> MutexGuard<'_, LedgerState> {
        lock(&self.books)
    }

    /// What is free in `regions`, under the caps there are and those of `lowered`.
    pub fn headroom(&self, regions: &[RegionId], lowered: &[Change]) -> Headroom {
        let mut books = self.lock();
        let before = books.caps.clone();
        for change in lowered {
            if let Change::Cap(scope, cap) = change {
                books.caps.set(scope.clone(), cap.clone());
            }
        }
        let headroom = headroom(&books, regions);
        books.caps = before;
        headroom
    }

    /// Adds changes to a batch.
    ///
    /// # Errors
    /// When a record is too large.
    pub fn put(&self, changes: &[Change], batch: &mut Batch) -> Result<(), CoordinatorError> {
        terms::put(&self.lock(), changes, batch)
    }

    /// Takes changes into memory whose batch is durable.
    pub fn apply(&self, changes: Vec<Change>) {
        let mut books = self.lock();
        changes.into_iter().for_each(|change| books.change(change));
    }

    /// Commits changes with `batch`, and ends the hold.
    ///
    /// # Errors
    /// When the store refuses; then nothing has changed.
    pub async fn commit(
        self,
        changes: Vec<Change>,
        mut batch: Batch,
    ) -> Result<(), CoordinatorError> {
        self.put(&changes, &mut batch)?;
        let commit = self.store.commit(batch);
        commit_then("a change of terms", commit, move || self.apply(changes)).await
    }
}
