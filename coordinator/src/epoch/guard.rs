//! A store that commits nothing once the coordinator is halted.
//!
//! Every assignment, charge and release is a commit before it is anything else, so this one door is
//! enough.

use std::sync::Arc;

use super::Halt;
use crate::store::{Batch, CommitFuture, Row, Store, StoreError, Table, Versioned};

/// A store behind the halt.
pub struct GuardedStore {
    store: Arc<dyn Store>,
    halt: Arc<Halt>,
}

impl GuardedStore {
    /// Guards a store.
    pub fn new(store: Arc<dyn Store>, halt: Arc<Halt>) -> Self {
        Self { store, halt }
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
        let (store, halt) = (self.store.clone(), self.halt.clone());
        Box::pin(async move {
            if let Some(reason) = halt.reason() {
                return Err(StoreError::Halted { reason });
            }
            store.commit(batch).await
        })
    }

    fn failure(&self) -> Option<StoreError> {
        self.store.failure()
    }
}
