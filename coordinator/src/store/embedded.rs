//! The embedded store: an engine, the anchor beside it, and the proof at each open that the two
//! belong together.
//!
//! # What an open does
//! 1. Claims the folder and reads its format; another engine's folder is refused.
//! 2. Reads the anchor.
//! 3. Opens a **view** of the database that leaves the files as they are (a copy for sled, pages in
//!    memory for redb), because opening an engine repairs, and a repair is a roll-back.
//! 4. Proves the view: header against anchor, every record's checksum, the number of records and the
//!    sum of their checksums against the header. Any doubt ends here, with nothing changed.
//! 5. Opens the files themselves and finds the same header.
//! 6. If the engine is one group ahead of the anchor, moves the anchor.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::anchor::{Anchor, Standing};
use super::engine::{DEFAULT_ENGINE, Engine, EngineKind};
use super::folder::{Folder, corrupt};
use super::format::Format;
use super::proof::{is_at_start, prove, read_header};
use super::redb::RedbEngine;
use super::redb_disk::{LocalDisk, RedbDisk};
use super::schema::{Header, StoreId, decode_record, key_range};
use super::sled::{self, SledEngine};
use super::staging::Staging;
use super::writer::Writer;
use super::{
    Batch, CommitFuture, CommitReceipt, Row, Store, StoreError, Table, Versioned, build, files,
    upgrade,
};

/// The [`Store`] of one coordinator, in a folder on the local disk.
///
/// What it acknowledged survives the death of the process and a power failure; what it could not
/// keep, it recognises at the next open. Dropping it writes what is queued and ends the writer
/// thread, which may block for the duration of a sync.
#[derive(Debug)]
pub struct EmbeddedStore {
    // dropped in this order: the writer ends, the engine closes, the folder is unlocked
    writer: Writer,
    shared: Arc<Shared>,
    engine: EngineKind,
    _folder: Option<Folder>,
}

impl EmbeddedStore {
    /// Opens the store in `folder`, creating it if the folder is missing or empty, and proves that
    /// all that was acknowledged is there. `engine` is what the folder must hold; `None` takes what
    /// it holds, and [`DEFAULT_ENGINE`] for a new one. Blocks; reads everything twice.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process uses the folder, [`StoreError::Foreign`] if it
    /// holds anything else, [`StoreError::OtherVersion`], [`StoreError::OtherEngine`],
    /// [`StoreError::Lost`], [`StoreError::Corrupt`], [`StoreError::Full`] or [`StoreError::Io`].
    pub fn open(folder: impl AsRef<Path>, engine: Option<EngineKind>) -> Result<Self, StoreError> {
        let mut folder = Folder::claim(folder.as_ref())?;
        let engine = match folder.format() {
            Format::Absent | Format::Unfinished(_) => {
                let engine = engine.unwrap_or(DEFAULT_ENGINE);
                create(&mut folder, engine)?;
                engine
            }
            Format::First => {
                let engine = engine.unwrap_or(EngineKind::Sled);
                upgrade::from_first_format(&mut folder, engine)?;
                engine
            }
            Format::Ready(found) => found_engine(&folder, found, engine)?,
        };
        let shared = open_proven(&folder, engine)?;
        remove_leftovers(&folder, engine)?;
        Self::start(shared, engine, Some(folder))
    }

    /// Opens a store on redb on any medium, creating it if the medium is empty: for tests that cut
    /// the power. No lock is taken.
    ///
    /// # Errors
    /// As [`EmbeddedStore::open`].
    pub fn open_on(disk: Arc<dyn RedbDisk>) -> Result<Self, StoreError> {
        let folder = Path::new("");
        let anchor = || {
            disk.anchor()
                .map_err(|error| StoreError::from_io("reading the anchor", &error))
        };
        let opening = |error| StoreError::from_io("opening the database", &error);
        let read = Anchor::read(anchor()?)
            .map_err(|error| StoreError::from_io("reading the anchor", &error))?;
        let view = || RedbEngine::probe(folder, Arc::clone(&disk), true);
        let anchor = match read {
            Ok(anchor) => anchor,
            // without a record an engine without an anchor is one that was being made
            Err(super::anchor::Doubt::Missing)
                if disk
                    .database()
                    .and_then(|bytes| bytes.len())
                    .map_err(opening)?
                    == 0
                    || is_new(&view()?, folder)? =>
            {
                let engine = RedbEngine::open(folder, Arc::clone(&disk))?;
                first_anchor(&engine, anchor()?)?
            }
            Err(doubt) => return Err(StoreError::in_doubt(folder, &doubt)),
        };
        let (proven, standing) = prove(&view()?, &anchor, folder)?;
        let engine: Box<dyn Engine> = Box::new(RedbEngine::open(folder, disk)?);
        let shared = Shared::settled(folder, engine, anchor, &proven, standing)?;
        Self::start(shared, EngineKind::Redb, None)
    }

    fn start(
        shared: Shared,
        engine: EngineKind,
        folder: Option<Folder>,
    ) -> Result<Self, StoreError> {
        let shared = Arc::new(shared);
        let writer = Writer::start(Arc::clone(&shared))?;
        Ok(Self {
            writer,
            shared,
            engine,
            _folder: folder,
        })
    }

    /// Whether `folder` holds a store that may have records. A folder that is missing, or whose
    /// making was interrupted, does not.
    ///
    /// # Errors
    /// As [`EmbeddedStore::open`], for its first steps.
    pub fn exists(folder: impl AsRef<Path>) -> Result<bool, StoreError> {
        let format = Format::read(folder.as_ref())?;
        Ok(!matches!(format, Format::Absent | Format::Unfinished(_)))
    }

    /// The engine that holds the records.
    #[must_use]
    pub fn engine(&self) -> EngineKind {
        self.engine
    }
}

/// Removes what an interrupted upgrade, migration or repair left beside a store that was just
/// proven.
fn remove_leftovers(folder: &Folder, engine: EngineKind) -> Result<(), StoreError> {
    let others = EngineKind::ALL.into_iter().filter(|other| *other != engine);
    let databases = others.map(|other| folder.database(other));
    let leftovers = [
        folder.probe(),
        folder.second_probe(),
        folder.building(),
        folder.first_format(),
    ];
    for leftover in leftovers.into_iter().chain(databases) {
        if leftover.exists() {
            build::discard(folder, &leftover)?;
        }
    }
    Ok(())
}

/// The engine of a folder, unless another one was asked for.
pub(super) fn found_engine(
    folder: &Folder,
    found: EngineKind,
    wanted: Option<EngineKind>,
) -> Result<EngineKind, StoreError> {
    match wanted {
        Some(wanted) if wanted != found => Err(StoreError::OtherEngine {
            folder: folder.path().to_owned(),
            found,
            wanted,
        }),
        _ => Ok(found),
    }
}

/// Makes an empty store. `FORMAT` says "unfinished" before anything else is written and "ready"
/// once the engine and the anchor are on the disk, so what an interrupted one left can go.
fn create(folder: &mut Folder, engine: EngineKind) -> Result<(), StoreError> {
    let cleaning = |error| StoreError::from_io("making the store", &error);
    folder.set_format(Format::Unfinished(engine))?;
    for kind in EngineKind::ALL {
        files::remove_tree(&folder.database(kind)).map_err(cleaning)?;
    }
    if folder.anchor_path().exists() {
        std::fs::remove_file(folder.anchor_path()).map_err(cleaning)?;
    }
    let database = open_engine(folder.path(), &folder.database(engine), engine)?;
    first_anchor(&*database, folder.anchor())?;
    drop(database);
    files::sync_folder(folder.path())
        .and_then(|()| files::sync_above(folder.path()))
        .map_err(cleaning)?;
    folder.set_format(Format::Ready(engine))
}

/// Writes the header of an empty store and its anchor.
fn first_anchor(
    engine: &dyn Engine,
    anchor: Box<dyn super::anchor::AnchorFile>,
) -> Result<Anchor, StoreError> {
    let header = Header::new(new_store_id()?);
    engine.write(&super::engine::Writes::new(), &header.encode())?;
    Anchor::create(anchor, header.store, header.at)
        .map_err(|error| StoreError::from_io("writing the anchor", &error))
}

/// Whether an engine holds no header, or that of a store without a commit.
fn is_new(engine: &dyn Engine, folder: &Path) -> Result<bool, StoreError> {
    Ok(engine.header()?.is_none() || is_at_start(&read_header(engine, folder)?))
}

pub(super) fn new_store_id() -> Result<StoreId, StoreError> {
    let mut id = StoreId::default();
    getrandom::fill(&mut id).map_err(|error| StoreError::Io {
        during: "naming the store",
        kind: std::io::ErrorKind::Other,
        message: error.to_string(),
    })?;
    Ok(id)
}

/// Opens the database in a folder for real.
pub(super) fn open_engine(
    store: &Path,
    database: &Path,
    engine: EngineKind,
) -> Result<Box<dyn Engine>, StoreError> {
    Ok(match engine {
        EngineKind::Sled => Box::new(SledEngine::open(store, database)?),
        EngineKind::Redb => Box::new(RedbEngine::open(store, local_disk(database))?),
    })
}

fn local_disk(database: &Path) -> Arc<LocalDisk> {
    Arc::new(LocalDisk {
        folder: database.to_owned(),
        anchor: PathBuf::new(),
    })
}

/// An engine that may do what it wants: the files it was opened from stay as they are.
#[derive(Debug)]
pub(super) struct View {
    engine: Option<Box<dyn Engine>>,
    copy: Option<PathBuf>,
}

impl View {
    /// A view of the database in `database`; `copy` is where a copy may go.
    pub(super) fn open(
        store: &Path,
        database: &Path,
        copy: PathBuf,
        engine: EngineKind,
    ) -> Result<Self, StoreError> {
        Self::of(store, database, copy, engine, false)
    }

    /// A view of a damaged database: sled without its snapshot, redb without its own check.
    pub(super) fn salvage(
        store: &Path,
        database: &Path,
        copy: PathBuf,
        engine: EngineKind,
    ) -> Result<Self, StoreError> {
        Self::of(store, database, copy, engine, true)
    }

    fn of(
        store: &Path,
        database: &Path,
        copy: PathBuf,
        engine: EngineKind,
        salvage: bool,
    ) -> Result<Self, StoreError> {
        if !database.is_dir() {
            let name = engine.folder();
            return Err(corrupt(store, format!("its folder {name} is missing")));
        }
        let mut view = Self {
            engine: None,
            copy: None,
        };
        view.engine = Some(match engine {
            EngineKind::Redb => Box::new(RedbEngine::probe(store, local_disk(database), !salvage)?),
            EngineKind::Sled => {
                let copying =
                    |error| StoreError::from_io("copying the database to check it", &error);
                files::remove_tree(&copy).map_err(copying)?;
                view.copy = Some(copy.clone());
                files::copy_tree(database, &copy).map_err(copying)?;
                if salvage {
                    sled::remove_snapshots(&copy).map_err(copying)?;
                }
                Box::new(SledEngine::open_copy(store, &copy)?)
            }
        });
        Ok(view)
    }

    pub(super) fn engine(&self) -> &dyn Engine {
        // set by `open`, taken by `drop`
        self.engine.as_deref().expect("a view has its engine")
    }
}

impl Drop for View {
    fn drop(&mut self) {
        drop(self.engine.take());
        if let Some(copy) = &self.copy
            && let Err(error) = files::remove_tree(copy)
        {
            tracing::warn!(%error, "a copy of the store could not be removed");
        }
    }
}

/// Steps 2 to 6 of an open.
fn open_proven(folder: &Folder, engine: EngineKind) -> Result<Shared, StoreError> {
    let path = folder.path();
    let anchor = Anchor::read(folder.anchor())
        .map_err(|error| StoreError::from_io("reading the anchor", &error))?
        .map_err(|doubt| StoreError::in_doubt(path, &doubt))?;
    let database = folder.database(engine);
    let view = View::open(path, &database, folder.probe(), engine)?;
    let (proven, standing) = prove(view.engine(), &anchor, path)?;
    drop(view);
    files::make_private(path)
        .map_err(|error| StoreError::from_io("opening the data folder", &error))?;
    let database = open_engine(path, &database, engine)?;
    Shared::settled(path, database, anchor, &proven, standing)
}

/// What the writer thread and the readers share.
#[derive(Debug)]
pub(super) struct Shared {
    /// The store's folder, for messages.
    folder: PathBuf,
    engine: Box<dyn Engine>,
    /// Used by the writer thread only.
    anchor: Mutex<Anchor>,
    /// Changed by the writer thread only.
    header: Mutex<Header>,
    /// The first failure that left the outcome of a write unknown.
    failure: OnceLock<StoreError>,
}

impl Shared {
    /// An engine that was proven and opened.
    fn settled(
        folder: &Path,
        engine: Box<dyn Engine>,
        mut anchor: Anchor,
        proven: &Header,
        standing: Standing,
    ) -> Result<Self, StoreError> {
        let header = read_header(&*engine, folder)?;
        if header != *proven {
            let detail = "it changed while it was being opened".to_owned();
            return Err(corrupt(folder, detail));
        }
        if standing == Standing::Ahead {
            anchor
                .advance(header.at)
                .map_err(|error| StoreError::from_io("writing the anchor", &error))?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            engine,
            anchor: Mutex::new(anchor),
            header: Mutex::new(header),
            failure: OnceLock::new(),
        })
    }

    /// Commits a group: checks and stages each batch, writes all that were accepted in one
    /// transaction, moves the anchor, and answers each.
    pub(super) fn commit(&self, batches: &[&Batch]) -> Vec<Result<CommitReceipt, StoreError>> {
        let header = self.header().clone();
        let mut staging = Staging::after(header, &*self.engine, &self.folder);
        let mut answers: Vec<_> = batches
            .iter()
            .map(|batch| {
                self.available()?;
                staging.apply(batch).inspect_err(|error| self.note(error))
            })
            .collect();
        if !staging.is_empty()
            && let Err(error) = self.write(staging)
        {
            for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
                *answer = Err(error.clone());
            }
        }
        answers
    }

    /// Steps 1 to 4 of the anchor's table.
    fn write(&self, staging: Staging<'_>) -> Result<(), StoreError> {
        self.available()?;
        self.engine.reserve(staging.bytes())?;
        let (writes, header) = staging.finish();
        if let Err(error) = self.engine.write(&writes, &header.encode()) {
            return Err(self.after_failed_write(error));
        }
        let mut anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = anchor.advance(header.at) {
            let error = StoreError::from_io("writing the anchor", &error);
            return Err(self.stop(error));
        }
        *self.header() = header;
        Ok(())
    }

    /// Goes on after a full disk if the engine can, and if nothing of the group was written.
    fn after_failed_write(&self, error: StoreError) -> StoreError {
        let is_full = matches!(error, StoreError::Full { .. });
        let reopened = is_full && self.engine.reopen().is_ok();
        let as_before = || {
            let found = read_header(&*self.engine, &self.folder);
            found.is_ok_and(|found| found == *self.header())
        };
        if reopened && as_before() {
            return error;
        }
        self.stop(error)
    }

    /// Refuses once the store has stopped.
    pub(super) fn available(&self) -> Result<(), StoreError> {
        self.failure
            .get()
            .map_or(Ok(()), |cause| Err(StoreError::unavailable(cause)))
    }

    /// Stops the store: what the disk holds is not known until the next open. Gives the error that
    /// says so.
    pub(super) fn stop(&self, cause: StoreError) -> StoreError {
        let stopped = StoreError::unavailable(&cause);
        if self.failure.set(cause).is_ok() {
            tracing::error!(reason = %stopped, "the metadata store stopped");
        }
        stopped
    }

    /// Stops the store after an error of the engine's own: those mean a failing disk, even those of
    /// a read, which may have had to write pages out to make room.
    fn note(&self, error: &StoreError) {
        if matches!(
            error,
            StoreError::Io { .. } | StoreError::Full { .. } | StoreError::Unavailable { .. }
        ) {
            self.stop(error.clone());
        }
    }

    fn header(&self) -> MutexGuard<'_, Header> {
        self.header.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decode(&self, table: Table, key: &[u8], bytes: &[u8]) -> Result<Versioned, StoreError> {
        let record = decode_record(table, key, bytes).ok_or_else(|| {
            let detail = format!("a record of table {table} has another checksum than it states");
            corrupt(&self.folder, detail)
        })?;
        Ok(record.to_versioned())
    }
}

impl Store for EmbeddedStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        self.shared.available()?;
        let read = self.shared.engine.read(table, key);
        let bytes = read.inspect_err(|error| self.shared.note(error))?;
        bytes
            .map(|bytes| self.shared.decode(table, key, &bytes))
            .transpose()
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.shared.available()?;
        let Some(limits) = key_range(prefix, after) else {
            return Ok(Vec::new());
        };
        let read = self.shared.engine.scan(table, limits, limit);
        let rows = read.inspect_err(|error| self.shared.note(error))?;
        rows.into_iter()
            .map(|(key, bytes)| {
                let record = self.shared.decode(table, &key, &bytes)?;
                Ok((key, record))
            })
            .collect()
    }

    fn commit(&self, batch: Batch) -> CommitFuture {
        self.writer.commit(batch)
    }

    fn failure(&self) -> Option<StoreError> {
        self.shared.available().err()
    }
}
