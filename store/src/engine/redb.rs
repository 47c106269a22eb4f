//! The engine on redb 4: one table per table, one transaction per group of commits.
//!
//! redb keeps a checksum of every page below its root and two roots, so a commit that was cut short
//! falls back to the one before. Its transaction is durable when `commit` returns (`fdatasync`).

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use ::redb::{
    Builder, Database, ReadableDatabase as _, StorageBackend, StorageError, TableDefinition,
    TableError,
};

use crate::disk::schema::Limits;
use crate::engine::redb_disk::{Overlay, RedbDisk, SharedBackend};
use crate::engine::{Engine, RawRows, Writes};
use crate::{StoreError, Table};

/// Bytes of redb's page cache.
const CACHE_BYTES: usize = 64 * 1024 * 1024;
const HEADER_TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("header");
const HEADER_KEY: &[u8] = b"header";

const fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
}

/// An open redb database.
pub(crate) struct RedbEngine {
    /// The store's folder, for messages.
    store: PathBuf,
    disk: Arc<dyn RedbDisk>,
    /// `None` only while it is opened again, or when that failed.
    database: RwLock<Option<Arc<Database>>>,
}

impl std::fmt::Debug for RedbEngine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RedbEngine")
            .field("disk", &self.disk)
            .finish_non_exhaustive()
    }
}

impl RedbEngine {
    /// Opens the database on `disk`, creating it if the disk is empty. `store` is named in errors.
    pub(crate) fn open(store: &Path, disk: Arc<dyn RedbDisk>) -> Result<Self, StoreError> {
        let bytes = bytes_of(&*disk)?;
        let database = open_database(store, Arc::clone(&bytes), true)?;
        // a process that was killed may have left its last group with the system only
        bytes
            .sync_data()
            .map_err(|error| StoreError::from_io("syncing the database", &error))?;
        Ok(Self::with(store, disk, database))
    }

    /// Opens a view of the database: nothing on `disk` changes, whatever is done. Without `checked`
    /// it opens as long as it can be read at all.
    pub(crate) fn probe(
        store: &Path,
        disk: Arc<dyn RedbDisk>,
        checked: bool,
    ) -> Result<Self, StoreError> {
        let view = Overlay::over(bytes_of(&*disk)?)
            .map_err(|error| StoreError::from_io("opening the database", &error))?;
        let database = open_database(store, Arc::new(view), checked)?;
        Ok(Self::with(store, disk, database))
    }

    fn with(store: &Path, disk: Arc<dyn RedbDisk>, database: Database) -> Self {
        Self {
            store: store.to_owned(),
            disk,
            database: RwLock::new(Some(Arc::new(database))),
        }
    }

    fn database(&self) -> Result<Arc<Database>, StoreError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        database.clone().ok_or_else(|| StoreError::Unavailable {
            reason: "the database could not be opened again".to_owned(),
        })
    }

    fn error(&self, during: &'static str, error: impl Into<::redb::Error>) -> StoreError {
        from_redb(&self.store, during, error.into())
    }

    /// Runs `read` on a table as it is now; `None` if the table was never written.
    fn with_table<T>(
        &self,
        definition: TableDefinition<'_, &'static [u8], &'static [u8]>,
        during: &'static str,
        read: impl FnOnce(
            &::redb::ReadOnlyTable<&'static [u8], &'static [u8]>,
        ) -> Result<T, StorageError>,
    ) -> Result<Option<T>, StoreError> {
        let database = self.database()?;
        let transaction = database
            .begin_read()
            .map_err(|error| self.error(during, error))?;
        let table = match transaction.open_table(definition) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(self.error(during, error)),
        };
        read(&table)
            .map(Some)
            .map_err(|error| self.error(during, error))
    }

    fn write_group(&self, writes: &Writes, header: &[u8]) -> Result<(), ::redb::Error> {
        let database = self.database().map_err(|_| ::redb::Error::DatabaseClosed)?;
        let transaction = database.begin_write()?;
        for table in Table::ALL {
            // `Table` sorts first, so the writes of a table stand together
            let first = (table, Vec::new());
            let mut of_table = writes
                .range(first..)
                .take_while(|((of, _), _)| *of == table)
                .peekable();
            if of_table.peek().is_none() {
                continue;
            }
            let mut open = transaction.open_table(definition(table))?;
            for ((_, key), record) in of_table {
                match record {
                    Some(record) => open.insert(key.as_slice(), record.as_slice())?,
                    None => open.remove(key.as_slice())?,
                };
            }
        }
        transaction
            .open_table(HEADER_TABLE)?
            .insert(HEADER_KEY, header)?;
        transaction.commit()?;
        Ok(())
    }
}

impl Engine for RedbEngine {
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.with_table(definition(table), "reading a record", |table| {
            Ok(table.get(key)?.map(|bytes| bytes.value().to_vec()))
        })?;
        Ok(read.flatten())
    }

    fn scan(&self, table: Table, limits: Limits, limit: usize) -> Result<RawRows, StoreError> {
        let (from, to) = &limits;
        let range = (
            from.as_ref().map(Vec::as_slice),
            to.as_ref().map(Vec::as_slice),
        );
        let rows = self.with_table(definition(table), "reading a table", |table| {
            table
                .range::<&[u8]>(range)?
                .take(limit)
                .map(|row| {
                    let (key, bytes) = row?;
                    Ok((key.value().to_vec(), bytes.value().to_vec()))
                })
                .collect()
        })?;
        Ok(rows.unwrap_or_default())
    }

    fn header(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.with_table(HEADER_TABLE, "reading the header", |table| {
            Ok(table.get(HEADER_KEY)?.map(|bytes| bytes.value().to_vec()))
        })?;
        Ok(read.flatten())
    }

    /// redb claims room itself when its file grows, before it writes a page.
    fn reserve(&self, _bytes: u64) -> Result<(), StoreError> {
        Ok(())
    }

    fn write(&self, writes: &Writes, header: &[u8]) -> Result<(), StoreError> {
        self.write_group(writes, header)
            .map_err(|error| self.error("writing a batch", error))
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // a reader may hold it for a moment longer; it writes nothing after its failure
        *database = None;
        *database = Some(Arc::new(open_database(
            &self.store,
            bytes_of(&*self.disk)?,
            true,
        )?));
        Ok(())
    }
}

fn bytes_of(disk: &dyn RedbDisk) -> Result<Arc<dyn StorageBackend>, StoreError> {
    disk.database()
        .map_err(|error| StoreError::from_io("opening the database", &error))
}

/// Opens and, if it is to be `checked`, checks every page. redb may panic on damage; that is a typed error here.
fn open_database(
    store: &Path,
    bytes: Arc<dyn StorageBackend>,
    checked: bool,
) -> Result<Database, StoreError> {
    let open = || {
        Builder::new()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(checked)
            .create_with_backend(SharedBackend(bytes))
    };
    match panic::catch_unwind(AssertUnwindSafe(open)) {
        Ok(opened) => {
            opened.map_err(|error| from_redb(store, "opening the database", error.into()))
        }
        Err(_) => Err(StoreError::corrupt(
            store,
            "its database can't be read".to_owned(),
        )),
    }
}

/// Names what was being done when redb refused.
fn from_redb(store: &Path, during: &'static str, error: ::redb::Error) -> StoreError {
    match error {
        ::redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            StoreError::corrupt(store, format!("while {during}: {error}"))
        }
        ::redb::Error::Io(error) => StoreError::from_io(during, &error),
        ::redb::Error::PreviousIo | ::redb::Error::DatabaseClosed => StoreError::Unavailable {
            reason: format!("{error} while {during}"),
        },
        other => StoreError::corrupt(store, format!("while {during}: {other}")),
    }
}
