//! The embedded store on sled 0.34.
//!
//! One process per folder, one writer thread, one tree per table, values inline. Reads go to sled's
//! cache from any thread. Why not call sled directly: its `flush_async` deadlocks, its writes are
//! durable only after a flush, and a flush per write would cost a hundred times the group commit.

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use ::sled::transaction::{ConflictableTransactionError, TransactionError, Transactional};
use ::sled::{Db, IVec, Tree};

use super::folder::{Folder, corrupt};
use super::schema::{
    Header, SCHEMA_VERSION, decode_record, encode_record, key_range, record_version,
};
use super::writer::Writer;
use super::{
    Batch, CommitFuture, CommitReceipt, Operation, Row, Store, StoreError, Table, Versioned,
};

/// Bytes of sled's page cache.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// How often sled's own thread syncs the file: bounds what a power failure can take.
const SYNC_INTERVAL_MS: u64 = 100;
const HEADER_TREE: &str = "header";
const HEADER_KEY: &[u8] = b"header";

/// The [`Store`] of one coordinator, in a folder on the local disk.
///
/// Survives the death of the process, not a power failure. Dropping it writes what is queued and
/// ends the writer thread, which may block for the duration of a flush.
#[derive(Debug)]
pub struct SledStore {
    // dropped in this order: the writer ends, the trees close, the folder is unlocked
    writer: Writer,
    trees: Arc<Trees>,
    _folder: Folder,
}

impl SledStore {
    /// Opens the store in `folder`, creating it if the folder is missing or empty, and checks that
    /// all records that were committed are there. Blocks; takes about a second per million records.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process uses the folder, [`StoreError::Foreign`] if it
    /// holds anything else, [`StoreError::OtherVersion`], [`StoreError::Corrupt`],
    /// [`StoreError::Full`] or [`StoreError::Io`].
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, StoreError> {
        let mut folder = Folder::claim(folder.as_ref())?;
        let trees = Arc::new(Trees::open(&folder)?);
        if !folder.is_initialised() {
            folder.mark_initialised()?;
        }
        let writer = Writer::start(Arc::clone(&trees))?;
        Ok(Self {
            writer,
            trees,
            _folder: folder,
        })
    }
}

impl Store for SledStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        self.trees.available()?;
        let Some(bytes) = self.trees.read(table, key)? else {
            return Ok(None);
        };
        self.trees.decode(table, &bytes).map(Some)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.trees.available()?;
        self.trees.scan(table, prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> CommitFuture {
        self.writer.commit(batch)
    }
}

/// sled's trees and what the writer keeps about them.
pub(super) struct Trees {
    folder: std::path::PathBuf,
    database: Db,
    tables: Vec<Tree>,
    header_tree: Tree,
    /// Changed by the writer thread only.
    header: Mutex<Header>,
    /// Held for writing while a transaction is applied, so that a scan sees whole batches.
    whole_batches: RwLock<()>,
    /// The first failure that left the outcome of a write unknown.
    failure: OnceLock<StoreError>,
}

impl fmt::Debug for Trees {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Trees")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Trees {
    fn open(folder: &Folder) -> Result<Self, StoreError> {
        let opening = |error: ::sled::Error| {
            StoreError::from_sled(folder.path(), "opening the database", &error)
        };
        let database = open_database(folder)?;
        let header_tree = database.open_tree(HEADER_TREE).map_err(opening)?;
        let tables = Table::ALL
            .iter()
            .map(|table| database.open_tree(table.name()).map_err(opening))
            .collect::<Result<Vec<_>, _>>()?;
        let trees = Self {
            folder: folder.path().to_owned(),
            database,
            tables,
            header_tree,
            header: Mutex::new(Header::new()),
            whole_batches: RwLock::new(()),
            failure: OnceLock::new(),
        };
        let header = trees.load_header(folder.is_initialised())?;
        trees.verify(&header)?;
        *trees.header() = header;
        Ok(trees)
    }

    /// The header on disk; writes the first one into a new database.
    fn load_header(&self, initialised: bool) -> Result<Header, StoreError> {
        let stored = self
            .header_tree
            .get(HEADER_KEY)
            .map_err(|error| self.sled_error("reading the header", &error))?;
        let Some(bytes) = stored else {
            if initialised {
                return Err(corrupt(&self.folder, "its header is missing".to_owned()));
            }
            let header = Header::new();
            self.header_tree
                .insert(HEADER_KEY, header.encode())
                .map_err(|error| self.sled_error("writing the header", &error))?;
            self.flush()?;
            return Ok(header);
        };
        match Header::format_of(&bytes) {
            Some(SCHEMA_VERSION) => Header::decode(&bytes)
                .ok_or_else(|| corrupt(&self.folder, "its header is damaged".to_owned())),
            Some(found) => Err(StoreError::OtherVersion {
                folder: self.folder.clone(),
                found,
                supported: SCHEMA_VERSION,
            }),
            None => Err(corrupt(&self.folder, "its header is damaged".to_owned())),
        }
    }

    /// Checks that every table has the records the header counts, none newer than the last commit.
    fn verify(&self, header: &Header) -> Result<(), StoreError> {
        for table in Table::ALL {
            let mut found = 0;
            for row in &self.tables[table.index()] {
                let (_, bytes) = row.map_err(|error| self.sled_error("checking it", &error))?;
                match record_version(&bytes) {
                    Some(version) if version <= header.last_commit => found += 1,
                    _ => return Err(self.damaged(table)),
                }
            }
            let expected = header.records[table.index()];
            if found != expected {
                let detail = format!("table {table} has {found} of {expected} records");
                return Err(corrupt(&self.folder, detail));
            }
        }
        Ok(())
    }

    fn read(&self, table: Table, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        self.tables[table.index()]
            .get(key)
            .map_err(|error| self.sled_error("reading a record", &error))
    }

    fn decode(&self, table: Table, bytes: &[u8]) -> Result<Versioned, StoreError> {
        decode_record(bytes).ok_or_else(|| self.damaged(table))
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let Some(range) = key_range(prefix, after) else {
            return Ok(Vec::new());
        };
        let _whole_batches = self
            .whole_batches
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        self.tables[table.index()]
            .range(range)
            .take(limit)
            .map(|row| {
                let (key, bytes) =
                    row.map_err(|error| self.sled_error("reading a table", &error))?;
                Ok((key.to_vec(), self.decode(table, &bytes)?))
            })
            .collect()
    }

    /// Checks and applies one batch. Called by the writer thread only, so that nothing changes
    /// between the checks and the transaction. Not durable before [`Trees::flush`].
    pub(super) fn apply(&self, batch: &Batch) -> Result<CommitReceipt, StoreError> {
        let mut header = self.header().clone();
        let version = header.last_commit + 1;
        let mut writes = Vec::with_capacity(batch.len());
        for operation in batch.operations() {
            let (table, key, _) = operation.target();
            let stored = self.read(table, key)?;
            let found = match &stored {
                Some(bytes) => Some(record_version(bytes).ok_or_else(|| self.damaged(table))?),
                None => None,
            };
            operation.check(found)?;
            let count = &mut header.records[table.index()];
            match operation {
                Operation::Put { value, .. } => {
                    *count += u64::from(found.is_none());
                    writes.push((table, key, Some(encode_record(version, value))));
                }
                Operation::Delete { .. } if found.is_some() => {
                    *count = count.saturating_sub(1);
                    writes.push((table, key, None));
                }
                Operation::Delete { .. } | Operation::Check { .. } => {}
            }
        }
        if writes.is_empty() {
            return Ok(CommitReceipt {
                version: header.last_commit,
            });
        }
        header.last_commit = version;
        self.write(&writes, &header)?;
        *self.header() = header;
        Ok(CommitReceipt { version })
    }

    /// One sled transaction over the header and all tables.
    fn write(&self, writes: &[Write<'_>], header: &Header) -> Result<(), StoreError> {
        let mut trees: Vec<&Tree> = self.tables.iter().collect();
        trees.push(&self.header_tree);
        let header = header.encode();
        let _whole_batches = self
            .whole_batches
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // sled may run the closure again, so it only stages
        let outcome: Result<(), TransactionError<()>> = trees[..].transaction(|views| {
            for (table, key, record) in writes {
                let view = &views[table.index()];
                match record {
                    Some(record) => view.insert(*key, record.as_slice())?,
                    None => view.remove(*key)?,
                };
            }
            views[Table::ALL.len()].insert(HEADER_KEY, header.as_slice())?;
            Ok::<(), ConflictableTransactionError<()>>(())
        });
        outcome.map_err(|error| match error {
            TransactionError::Storage(error) => self.sled_error("writing a batch", &error),
            // the closure never aborts
            TransactionError::Abort(()) => StoreError::Closed,
        })
    }

    /// Makes everything applied so far survive the death of the process.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        match self.database.flush() {
            Ok(_) => Ok(()),
            Err(error) => Err(self.sled_error("flushing", &error)),
        }
    }

    /// Refuses once the store has stopped.
    pub(super) fn available(&self) -> Result<(), StoreError> {
        self.failure
            .get()
            .map_or(Ok(()), |cause| Err(StoreError::unavailable(cause)))
    }

    /// Stops the store: what the disk holds is not known until the next open.
    pub(super) fn stop(&self, cause: &StoreError) {
        let _ = self.failure.set(cause.clone());
    }

    pub(super) fn last_commit(&self) -> u64 {
        self.header().last_commit
    }

    fn header(&self) -> MutexGuard<'_, Header> {
        self.header.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names the failure and stops the store: sled's errors mean damage or a failed write, even
    /// those of a read, which may have had to write pages out to make room.
    fn sled_error(&self, during: &'static str, error: &::sled::Error) -> StoreError {
        let error = StoreError::from_sled(&self.folder, during, error);
        self.stop(&error);
        error
    }

    fn damaged(&self, table: Table) -> StoreError {
        corrupt(
            &self.folder,
            format!("table {table} holds a record that is not ours"),
        )
    }
}

/// How long to wait between tries while a dropped database closes, and how often.
const CLOSING_WAIT: std::time::Duration = std::time::Duration::from_millis(25);
const CLOSING_WAITS: u32 = 200;

/// Table, key, and the record to put or `None` to delete.
type Write<'a> = (Table, &'a [u8], Option<Vec<u8>>);

/// Opens sled's files. Our own lock on the folder is held, so a lock on them can only be that of a
/// database which this process has just dropped and whose threads have not ended yet: wait for it.
fn open_database(folder: &Folder) -> Result<Db, StoreError> {
    let mut waits = 0;
    loop {
        match try_open_database(folder) {
            Err(StoreError::Io { message, .. })
                if message.contains("could not acquire lock") && waits < CLOSING_WAITS =>
            {
                waits += 1;
                std::thread::sleep(CLOSING_WAIT);
            }
            outcome => return outcome,
        }
    }
}

/// One try. sled panics on some kinds of damage; that is a typed error here.
fn try_open_database(folder: &Folder) -> Result<Db, StoreError> {
    let config = ::sled::Config::new()
        .path(folder.database())
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(Some(SYNC_INTERVAL_MS));
    match panic::catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(opened) => opened
            .map_err(|error| StoreError::from_sled(folder.path(), "opening the database", &error)),
        Err(_) => Err(corrupt(
            folder.path(),
            "its database can't be read".to_owned(),
        )),
    }
}
