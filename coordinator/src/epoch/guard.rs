//! A store that commits nothing while its gate is closed: once the coordinator is halted.
//!
//! Every assignment, charge and release is a commit before it is anything else, so this one door is
//! enough.

use std::sync::Arc;

use super::Halt;
use tributary_store::{Batch, CommitFuture, Row, Store, StoreError, Table, Versioned};

/// What decides whether a store commits.
pub trait Gate: Send + Sync {
    /// Asked before every commit.
    ///
    /// # Errors
    /// Why nothing is committed.
    fn check(&self) -> Result<(), StoreError>;
}

impl Gate for Halt {
    fn check(&self) -> Result<(), StoreError> {
        match self.reason() {
            Some(reason) => Err(StoreError::Halted { reason }),
            None => Ok(()),
        }
    }
}

/// A store behind a gate.
pub struct GuardedStore {
    store: Arc<dyn Store>,
    gate: Arc<dyn Gate>,
}

impl GuardedStore {
    /// Guards a store.
    pub fn new(store: Arc<dyn Store>, gate: Arc<dyn Gate>) -> Self {
        Self { store, gate }
    }
}

impl Store for GuardedStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        self.store.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.store.scan(table, prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> CommitFuture {
        let (store, gate) = (self.store.clone(), self.gate.clone());
        Box::pin(async move {
            gate.check()?;
            store.commit(batch).await
        })
    }

    fn failure(&self) -> Option<StoreError> {
        self.store.failure()
    }
}
