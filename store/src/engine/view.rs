//! Opening an engine's files, for real or as a view that leaves them as they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::StoreError;
use crate::disk::files;
use crate::engine::redb::RedbEngine;
use crate::engine::redb_disk::{FILE, LocalDisk};
use crate::engine::sled::{self, SledEngine};
use crate::engine::{Engine, EngineKind};

/// Opens the database in a folder for real.
pub(crate) fn open_engine(
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
pub(crate) struct View {
    engine: Option<Box<dyn Engine>>,
    copy: Option<PathBuf>,
}

impl View {
    /// A view of the database in `database`; `copy` is where a copy may go.
    pub(crate) fn open(
        store: &Path,
        database: &Path,
        copy: PathBuf,
        engine: EngineKind,
    ) -> Result<Self, StoreError> {
        Self::of(store, database, copy, engine, false)
    }

    /// A view of a damaged database: sled without its snapshot, redb without its own check.
    pub(crate) fn salvage(
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
            return Err(StoreError::corrupt(
                store,
                format!("its folder {name} is missing"),
            ));
        }
        // redb would make a new one
        if engine == EngineKind::Redb && !database.join(FILE).exists() {
            let name = engine.folder();
            return Err(StoreError::corrupt(
                store,
                format!("its file {name}/{FILE} is gone"),
            ));
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

    pub(crate) fn engine(&self) -> &dyn Engine {
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
