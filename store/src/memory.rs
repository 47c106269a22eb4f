//! The store in memory, for tests and simulations: same promises, except that nothing is durable.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use crate::disk::schema::key_range;
use crate::{
    Batch, CommitFuture, CommitReceipt, Operation, Row, Store, StoreError, Table, Versioned,
};

type Rows = BTreeMap<Vec<u8>, Versioned>;

#[derive(Clone, Debug, Default)]
struct Tables {
    rows: [Rows; Table::ALL.len()],
    last_commit: u64,
}

/// A [`Store`] that forgets everything when dropped. Clones share their contents.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    tables: Arc<RwLock<Tables>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A store of its own with what is in this one, as of one moment.
    #[must_use]
    pub fn fork(&self) -> Self {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        Self {
            tables: Arc::new(RwLock::new(tables.clone())),
        }
    }
}

impl Store for MemoryStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        // no code that can panic runs under the lock, so a poisoned lock still guards whole batches
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        Ok(tables.rows[table.index()].get(key).cloned())
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let Some((from, to)) = key_range(prefix, after) else {
            return Ok(Vec::new());
        };
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        let range = (
            from.as_ref().map(Vec::as_slice),
            to.as_ref().map(Vec::as_slice),
        );
        let rows = tables.rows[table.index()]
            .range::<[u8], (Bound<&[u8]>, Bound<&[u8]>)>(range)
            .take(limit)
            .map(|(key, record)| (key.clone(), record.clone()));
        Ok(rows.collect())
    }

    fn commit(&self, batch: Batch) -> CommitFuture {
        let tables = Arc::clone(&self.tables);
        Box::pin(async move {
            batch.validate()?;
            tables
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .apply(&batch)
        })
    }

    fn failure(&self) -> Option<StoreError> {
        None
    }
}

impl Tables {
    fn apply(&mut self, batch: &Batch) -> Result<CommitReceipt, StoreError> {
        for operation in batch.operations() {
            let (table, key, _) = operation.target();
            operation.check(
                self.rows[table.index()]
                    .get(key)
                    .map(|record| record.version),
            )?;
        }
        let version = self.last_commit + 1;
        for operation in batch.operations() {
            match operation {
                Operation::Put {
                    table, key, value, ..
                } => {
                    let record = Versioned {
                        version,
                        value: value.clone(),
                    };
                    self.rows[table.index()].insert(key.clone(), record);
                }
                Operation::Delete { table, key, .. } => {
                    if self.rows[table.index()].remove(key).is_none() {
                        continue;
                    }
                }
                Operation::Check { .. } => continue,
            }
            self.last_commit = version;
        }
        Ok(CommitReceipt {
            version: self.last_commit,
        })
    }
}
