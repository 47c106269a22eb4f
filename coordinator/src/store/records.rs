//! An iterator that pages through a prefix.

use std::collections::VecDeque;

use super::{Row, Store, StoreError, Table};

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
    pub(super) fn new(store: &'a dyn Store, table: Table, prefix: &[u8]) -> Self {
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
