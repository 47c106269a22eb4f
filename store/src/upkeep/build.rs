//! Builds a database beside the one in use, for an upgrade, a migration or a repair.
//!
//! A database is built in `building`, proven there, and takes its place by a rename; until then
//! nothing else in the folder has changed.

use std::fs;
use std::io;

use crate::disk::files;
use crate::disk::folder::Folder;
use crate::disk::proof::{read_header, survey};
use crate::disk::schema::{Header, key_range};
use crate::engine::view::{View, open_engine};
use crate::engine::{Engine, EngineKind, RawRows, StoredRow, Writes};
use crate::{StoreError, Table};

/// Bytes that are written together.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;
/// Rows read at a time.
const PAGE: usize = 128;

/// Builds a database of `engine` in `building` from stored records in any order, with `header`,
/// and proves it.
pub(crate) fn build(
    folder: &Folder,
    engine: EngineKind,
    header: &Header,
    rows: impl Iterator<Item = Result<StoredRow, StoreError>>,
) -> Result<(), StoreError> {
    let cleaning = |error| StoreError::from_io("building the database", &error);
    files::remove_tree(&folder.building()).map_err(cleaning)?;
    let database = open_engine(folder.path(), &folder.building(), engine)?;
    let start = Header::new(header.store).encode();
    let (mut writes, mut bytes) = (Writes::new(), 0);
    for row in rows {
        let (table, key, record) = row?;
        bytes += key.len() + record.len();
        writes.insert((table, key), Some(record));
        if bytes > CHUNK_BYTES {
            database.reserve(bytes as u64)?;
            database.write(&writes, &start)?;
            (writes, bytes) = (Writes::new(), 0);
        }
    }
    database.reserve(bytes as u64)?;
    database.write(&writes, &header.encode())?;
    drop(database);
    is_as_built(folder, engine, header)
}

/// Reads what was built and compares it with its header.
fn is_as_built(folder: &Folder, engine: EngineKind, header: &Header) -> Result<(), StoreError> {
    let path = folder.path();
    let view = View::open(path, &folder.building(), folder.probe(), engine)?;
    let found = survey(view.engine())?;
    let is_whole = read_header(view.engine(), path)? == *header
        && found.damaged.is_empty()
        && found.contents == header.contents
        && found.records == header.records;
    if is_whole {
        return Ok(());
    }
    let detail = "what was built does not read back: the disk may be failing".to_owned();
    Err(StoreError::corrupt(path, detail))
}

/// Puts what was built in its place; whatever stands there must not be needed.
pub(crate) fn adopt(folder: &Folder, engine: EngineKind) -> Result<(), StoreError> {
    let place = folder.database(engine);
    files::remove_tree(&place)
        .and_then(|()| fs::rename(folder.building(), &place))
        .and_then(|()| files::sync_folder(folder.path()))
        .map_err(|error| StoreError::from_io("putting the database in its place", &error))
}

/// Removes a folder that is not needed any more.
pub(crate) fn discard(folder: &Folder, path: &std::path::Path) -> Result<(), StoreError> {
    files::remove_tree(path)
        .and_then(|()| files::sync_folder(folder.path()))
        .map_err(|error: io::Error| StoreError::from_io("removing the old database", &error))
}

/// Every stored row of an engine, table by table.
pub(crate) fn all_rows(engine: &dyn Engine) -> impl Iterator<Item = Result<StoredRow, StoreError>> {
    Table::ALL
        .into_iter()
        .flat_map(move |table| RowsOf::new(engine, table))
}

/// The stored rows of one table. Ends after the first error.
pub(crate) fn rows_of(
    engine: &dyn Engine,
    table: Table,
) -> impl Iterator<Item = Result<StoredRow, StoreError>> {
    RowsOf::new(engine, table)
}

/// The stored rows of one table. Ends after the first error.
struct RowsOf<'e> {
    engine: &'e dyn Engine,
    table: Table,
    page: std::vec::IntoIter<(Vec<u8>, Vec<u8>)>,
    after: Option<Vec<u8>>,
    is_last: bool,
}

impl<'e> RowsOf<'e> {
    fn new(engine: &'e dyn Engine, table: Table) -> Self {
        Self {
            engine,
            table,
            page: RawRows::new().into_iter(),
            after: None,
            is_last: false,
        }
    }

    fn read_page(&mut self) -> Result<(), StoreError> {
        let Some(limits) = key_range(b"", self.after.as_deref()) else {
            self.is_last = true;
            return Ok(());
        };
        let rows = self.engine.scan(self.table, limits, PAGE)?;
        self.is_last = rows.len() < PAGE;
        self.after = rows.last().map(|(key, _)| key.clone());
        self.page = rows.into_iter();
        Ok(())
    }
}

impl Iterator for RowsOf<'_> {
    type Item = Result<StoredRow, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.len() == 0
            && !self.is_last
            && let Err(error) = self.read_page()
        {
            self.is_last = true;
            return Some(Err(error));
        }
        let (key, record) = self.page.next()?;
        Some(Ok((self.table, key, record)))
    }
}
