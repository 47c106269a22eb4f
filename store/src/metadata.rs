//! What every store of metadata can do.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;

use crate::{Batch, CommitReceipt, StoreError, Table, Versioned};

/// One row of a scan: a key and its record.
pub type Row = (Vec<u8>, Versioned);

/// The future of a commit. It owns all it needs, so it may be spawned.
pub type CommitFuture =
    Pin<Box<dyn Future<Output = Result<CommitReceipt, StoreError>> + Send + 'static>>;

/// Metadata storage with atomic compare-and-swap batches. The module page lists the promises.
pub trait Store: Send + Sync + 'static {
    /// The record at `key`, or `None`.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Corrupt`], or [`StoreError::Unavailable`] once the store
    /// has stopped after a failure.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Versioned>, StoreError>;

    /// At most `limit` rows whose keys start with `prefix` and sort after `after`, in key order.
    /// One call sees one state of the table; two calls may see two.
    ///
    /// # Errors
    /// As [`Store::get`].
    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;

    /// Applies `batch`; durable when the future resolves. Nothing happens before the first poll;
    /// a future dropped after that may or may not have had its effect.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if an expectation failed, the limit errors if the batch is not
    /// acceptable, [`StoreError::Full`] if the disk has no room (nothing was changed), otherwise as
    /// [`Store::get`]. After [`StoreError::Unavailable`] the outcome of the batch is unknown until
    /// the store is opened again.
    fn commit(&self, batch: Batch) -> CommitFuture;

    /// Why the store has stopped for good, if it has: every later call is refused, and only opening it
    /// again, in another process, goes on.
    fn failure(&self) -> Option<StoreError>;
}

impl dyn Store {
    /// All rows whose keys start with `prefix`, in key order, read page by page.
    pub fn records(&self, table: Table, prefix: &[u8]) -> Records<'_> {
        Records::new(self, table, prefix)
    }
}

/// Rows read from the store at a time: at most 4 MiB of values.
const PAGE: usize = 64;

/// All rows whose keys start with a prefix, in key order. Each page of 64 rows is one state of the
/// table; rows committed meanwhile behind the current position are seen, those before it are not.
/// Ends after the first error.
pub struct Records<'a> {
    store: &'a dyn Store,
    table: Table,
    prefix: Vec<u8>,
    after: Option<Vec<u8>>,
    page: VecDeque<Row>,
    last_page: bool,
}

impl<'a> Records<'a> {
    fn new(store: &'a dyn Store, table: Table, prefix: &[u8]) -> Self {
        Self {
            store,
            table,
            prefix: prefix.to_vec(),
            after: None,
            page: VecDeque::new(),
            last_page: false,
        }
    }

    fn read_page(&mut self) -> Result<(), StoreError> {
        let after = self.after.as_deref();
        let rows = self.store.scan(self.table, &self.prefix, after, PAGE)?;
        self.last_page = rows.len() < PAGE;
        self.after = rows.last().map(|(key, _)| key.clone());
        self.page = rows.into();
        Ok(())
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Row, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty()
            && !self.last_page
            && let Err(error) = self.read_page()
        {
            self.last_page = true;
            return Some(Err(error));
        }
        self.page.pop_front().map(Ok)
    }
}
