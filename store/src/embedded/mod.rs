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

mod shared;
pub(crate) mod staging;
mod writer;

use std::path::Path;
use std::sync::Arc;

use crate::RedbDisk;
use crate::disk::anchor::{Anchor, AnchorFile};
use crate::disk::doubt::Doubt;
use crate::disk::files;
use crate::disk::folder::Folder;
use crate::disk::format::{Format, is_store};
use crate::disk::proof::{is_at_start, prove, read_header};
use crate::disk::schema::{self, Header, key_range};
use crate::embedded::shared::Shared;
use crate::embedded::writer::Writer;
use crate::engine::redb::RedbEngine;
use crate::engine::view::{View, open_engine};
use crate::engine::{DEFAULT_ENGINE, Engine, EngineKind};
use crate::upkeep::{build, upgrade};
use crate::{Batch, CommitFuture, Row, Store, StoreError, Table, Versioned};

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
        let read = Anchor::read(anchor()?)
            .map_err(|error| StoreError::from_io("reading the anchor", &error))?;
        let view = || RedbEngine::probe(folder, Arc::clone(&disk), true);
        let anchor = match read {
            Ok(anchor) => anchor,
            Err(Doubt::Missing | Doubt::Unreadable) if never_held_a_commit(&disk)? => {
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
        let folder = folder.as_ref();
        Ok(match Format::read(folder)? {
            // opening it says that its format is gone
            Format::Absent => is_store(folder),
            Format::Unfinished(_) => false,
            Format::First | Format::Ready(_) => true,
        })
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
pub(crate) fn found_engine(
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
fn first_anchor(engine: &dyn Engine, anchor: Box<dyn AnchorFile>) -> Result<Anchor, StoreError> {
    let header = Header::new(schema::new_store_id()?);
    engine.write(&crate::engine::Writes::new(), &header.encode())?;
    Anchor::create(anchor, header.store, header.at)
        .map_err(|error| StoreError::from_io("writing the anchor", &error))
}

/// Whether a medium without a readable anchor holds a store that was being made: redb writes its magic
/// number last, and a store its first header before its anchor. What is left of it goes.
fn never_held_a_commit(disk: &Arc<dyn RedbDisk>) -> Result<bool, StoreError> {
    const MAGIC: [u8; 4] = *b"redb";
    let opening = |error| StoreError::from_io("opening the database", &error);
    let bytes = disk.database().map_err(opening)?;
    let mut magic = [0; 4];
    if bytes.len().map_err(opening)? >= MAGIC.len() as u64 {
        bytes.read(0, &mut magic).map_err(opening)?;
    }
    if magic != MAGIC {
        bytes.set_len(0).map_err(opening)?;
        return Ok(true);
    }
    let folder = Path::new("");
    let view = RedbEngine::probe(folder, Arc::clone(disk), true)?;
    Ok(view.header()?.is_none() || is_at_start(&read_header(&view, folder)?))
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

impl Store for EmbeddedStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        self.shared.available()?;
        let read = self.shared.engine().read(table, key);
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
        let read = self.shared.engine().scan(table, limits, limit);
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
