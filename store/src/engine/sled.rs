//! The engine on sled 0.34: one tree per table, values inline.
//!
//! Why sled is not called directly: its `flush_async` deadlocks, its own flush
//! (`sync_file_range`) does not reach the disk's cache, and it reads a half-written
//! `snap.N.generating` as its newest snapshot. So leftovers are removed before it opens, and every
//! group of commits is followed by `fdatasync` of its log and of the files it spilled values to.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

use ::sled::transaction::{ConflictableTransactionError, TransactionError, Transactional};
use ::sled::{Db, Tree};
use rustix::fs::FallocateFlags;

use crate::disk::files;
use crate::disk::schema::Limits;
use crate::engine::{Engine, RawRows, Writes};
use crate::{StoreError, Table};

/// Bytes of sled's page cache.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// How often sled's own thread flushes and tidies up. Commits don't wait for it.
const FLUSH_INTERVAL_MS: u64 = 500;
const HEADER_TREE: &str = "header";
const HEADER_KEY: &[u8] = b"header";
/// Where sled puts values that are too long for its log.
const SPILLED: &str = "blobs";
const LOG: &str = "db";
/// sled's name for a snapshot that is being written.
const UNFINISHED: &str = ".generating";
/// Room that sled may need beside the bytes of a group: log segments that are open, and pages that
/// it moves.
const MARGIN_BYTES: u64 = 2 * 1024 * 1024;
/// Pages that a write may move, in bytes per byte written.
const AMPLIFICATION: u64 = 4;
/// Room that is claimed at a time.
const CLAIM_BYTES: u64 = 2 * 1024 * 1024;

/// An open sled database.
pub(crate) struct SledEngine {
    /// The store's folder, for messages.
    store: PathBuf,
    folder: PathBuf,
    tables: Vec<Tree>,
    header: Tree,
    /// Held for writing while a group is applied, so that a scan sees whole groups.
    whole_groups: RwLock<()>,
    log: File,
    spilled: Mutex<HashSet<OsString>>,
    // dropped last: closing it waits for its threads
    database: Db,
}

impl std::fmt::Debug for SledEngine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SledEngine")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// Removes every snapshot: sled then reads its whole log.
pub(crate) fn remove_snapshots(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Removes the half-written snapshots of a killed process, which sled would take for its newest.
/// None is ever needed: sled renames a snapshot once it is whole.
pub(crate) fn remove_leftovers(folder: &Path) -> io::Result<usize> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(UNFINISHED) {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

impl SledEngine {
    /// Opens the database in `folder`, creating it if it is not there, and syncs it: opening it
    /// repairs it. `store` is named in errors.
    pub(crate) fn open(store: &Path, folder: &Path) -> Result<Self, StoreError> {
        let engine = Self::open_copy(store, folder)?;
        engine.flush()?;
        files::make_private(folder)
            .and_then(|()| files::sync_tree(folder))
            .map_err(|error| StoreError::from_io("opening the database", &error))?;
        Ok(engine)
    }

    /// Opens a database that need not survive.
    pub(crate) fn open_copy(store: &Path, folder: &Path) -> Result<Self, StoreError> {
        let opening_file = |error: io::Error| StoreError::from_io("opening the database", &error);
        files::private_folder(folder).map_err(opening_file)?;
        remove_leftovers(folder).map_err(opening_file)?;
        let database = open_database(store, folder)?;
        let opening =
            |error: ::sled::Error| StoreError::from_sled(store, "opening the database", &error);
        let tree = |name: &str| database.open_tree(name).map_err(opening);
        let tables = Table::ALL.iter().map(|table| tree(table.name()));
        Ok(Self {
            store: store.to_owned(),
            folder: folder.to_owned(),
            tables: tables.collect::<Result<_, _>>()?,
            header: tree(HEADER_TREE)?,
            whole_groups: RwLock::new(()),
            log: File::options()
                .read(true)
                .write(true)
                .open(folder.join(LOG))
                .map_err(opening_file)?,
            spilled: Mutex::default(),
            database,
        })
    }

    fn error(&self, during: &'static str, error: &::sled::Error) -> StoreError {
        StoreError::from_sled(&self.store, during, error)
    }

    fn flush(&self) -> Result<(), StoreError> {
        match self.database.flush() {
            Ok(_) => Ok(()),
            Err(error) => Err(self.error("flushing", &error)),
        }
    }

    /// Makes what was flushed survive a power failure: the log, and values that were spilled.
    fn sync(&self) -> io::Result<()> {
        self.sync_spilled()?;
        self.log.sync_data()
    }

    fn sync_spilled(&self) -> io::Result<()> {
        let folder = self.folder.join(SPILLED);
        let mut synced = self.spilled.lock().unwrap_or_else(PoisonError::into_inner);
        let mut present = HashSet::with_capacity(synced.len());
        let mut has_new = false;
        for entry in fs::read_dir(&folder)? {
            let name = entry?.file_name();
            if !synced.contains(&name) {
                match sync_new_file(&folder.join(&name)) {
                    // removed meanwhile: nothing names it any more
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    outcome => outcome?,
                }
                has_new = true;
            }
            present.insert(name);
        }
        if has_new {
            files::sync_folder(&folder)?;
        }
        *synced = present;
        Ok(())
    }
}

fn sync_new_file(path: &Path) -> io::Result<()> {
    files::set_mode(path, files::FILE_MODE)?;
    File::open(path)?.sync_all()
}

impl Engine for SledEngine {
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.tables[table.index()].get(key);
        let bytes = read.map_err(|error| self.error("reading a record", &error))?;
        Ok(bytes.map(|bytes| bytes.to_vec()))
    }

    fn scan(&self, table: Table, limits: Limits, limit: usize) -> Result<RawRows, StoreError> {
        let _whole_groups = self
            .whole_groups
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        self.tables[table.index()]
            .range(limits)
            .take(limit)
            .map(|row| {
                let (key, bytes) = row.map_err(|error| self.error("reading a table", &error))?;
                Ok((key.to_vec(), bytes.to_vec()))
            })
            .collect()
    }

    fn header(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.header.get(HEADER_KEY);
        let bytes = read.map_err(|error| self.error("reading the header", &error))?;
        Ok(bytes.map(|bytes| bytes.to_vec()))
    }

    /// Claims room for the log beforehand: a write that fails half-way stops sled for good.
    fn reserve(&self, bytes: u64) -> Result<(), StoreError> {
        const DURING: &str = "making room for a commit";
        let io = |error: io::Error| StoreError::from_io(DURING, &error);
        let full = || StoreError::Full { during: DURING };
        let log = self.log.metadata().map_err(io)?;
        let wanted = log.len() + MARGIN_BYTES + AMPLIFICATION * bytes;
        if log.blocks() * 512 < wanted {
            match claim(&self.log, wanted + CLAIM_BYTES).or_else(|_| claim(&self.log, wanted)) {
                // this file system can't claim: all that is left is to look
                Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
                Err(error) => return Err(io(error.into())),
            }
        }
        let disk = rustix::fs::fstatvfs(&self.log).map_err(|error| io(error.into()))?;
        let is_claimed = self.log.metadata().map_err(io)?.blocks() * 512 >= wanted;
        let needed = if is_claimed {
            bytes
        } else {
            wanted - log.len()
        };
        if disk.f_bavail.saturating_mul(disk.f_frsize) < needed {
            return Err(full());
        }
        Ok(())
    }

    fn write(&self, writes: &Writes, header: &[u8]) -> Result<(), StoreError> {
        let mut trees: Vec<&Tree> = self.tables.iter().collect();
        trees.push(&self.header);
        {
            let _whole_groups = self
                .whole_groups
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            // sled may run the closure again, so it only stages
            let outcome: Result<(), TransactionError<()>> = trees[..].transaction(|views| {
                for ((table, key), record) in writes {
                    let view = &views[table.index()];
                    match record {
                        Some(record) => view.insert(key.as_slice(), record.as_slice())?,
                        None => view.remove(key.as_slice())?,
                    };
                }
                views[Table::ALL.len()].insert(HEADER_KEY, header)?;
                Ok::<(), ConflictableTransactionError<()>>(())
            });
            outcome.map_err(|error| match error {
                TransactionError::Storage(error) => self.error("writing a batch", &error),
                // the closure never aborts
                TransactionError::Abort(()) => StoreError::Closed,
            })?;
        }
        self.flush()?;
        self.sync()
            .map_err(|error| StoreError::from_io("syncing the database", &error))
    }

    /// sled keeps its first error for ever, and closing it then can wait for ever: only a new
    /// process can open the folder again.
    fn reopen(&self) -> Result<(), StoreError> {
        Err(StoreError::Unavailable {
            reason: "sled can't go on after a failed write".to_owned(),
        })
    }
}

/// Gives the file blocks for its first `bytes`, beyond its end too, without changing its length.
fn claim(file: &File, bytes: u64) -> Result<(), rustix::io::Errno> {
    rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes)
}

/// How long to wait between tries while a dropped database closes, and how often.
const CLOSING_WAIT: std::time::Duration = std::time::Duration::from_millis(25);
const CLOSING_WAITS: u32 = 200;

/// Opens sled's files. Our own lock on the folder is held, so a lock on them can only be that of a
/// database which this process has just dropped and whose threads have not ended yet: wait for it.
fn open_database(store: &Path, folder: &Path) -> Result<Db, StoreError> {
    let mut waits = 0;
    loop {
        match try_open_database(store, folder) {
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
fn try_open_database(store: &Path, folder: &Path) -> Result<Db, StoreError> {
    let config = ::sled::Config::new()
        .path(folder)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(Some(FLUSH_INTERVAL_MS));
    match panic::catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(opened) => {
            opened.map_err(|error| StoreError::from_sled(store, "opening the database", &error))
        }
        Err(_) => Err(StoreError::corrupt(
            store,
            "its database can't be read".to_owned(),
        )),
    }
}
