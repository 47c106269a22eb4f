//! Moves a store from one engine to the other.

use std::path::Path;

use serde::Serialize;

use crate::EngineKind;
use crate::disk::anchor::Anchor;
use crate::disk::folder::Folder;
use crate::disk::format::Format;
use crate::disk::proof::prove;
use crate::engine::view::View;
use crate::upkeep::build::{adopt, all_rows, build, discard};
use crate::upkeep::upgrade;
use crate::{StoreError, Table};

/// What a migration did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Migration {
    /// The engine before.
    pub from: EngineKind,
    /// The engine now.
    pub to: EngineKind,
    /// Records moved; all of them are proven in their new place.
    pub records: u64,
    /// Number of the last commit.
    pub commit: u64,
}

/// Moves the store in `folder` (the folder `meta` of a data folder) to `to`. The new database is
/// built beside the old one and proven; then `FORMAT` names it; then the old one goes. A migration
/// that was cut short has changed nothing, or all but the removal: run it again. Blocks.
///
/// # Errors
/// [`StoreError::Locked`] while a coordinator uses the folder; when the folder is damaged or rolled
/// back, nothing was changed.
pub fn migrate(folder: &Path, to: EngineKind) -> Result<Migration, StoreError> {
    let mut folder = Folder::claim_existing(folder)?;
    let from = match folder.format() {
        Format::Ready(from) => from,
        Format::First => {
            upgrade::from_first_format(&mut folder, to)?;
            EngineKind::Sled
        }
        Format::Absent | Format::Unfinished(_) => {
            return Err(StoreError::Foreign {
                folder: folder.path().to_owned(),
                found: "no store: serve the folder once".to_owned(),
            });
        }
    };
    if folder.format() != Format::Ready(to) {
        copy_to(&folder, from, to)?;
        folder.set_format(Format::Ready(to))?;
    }
    let (records, commit) = prove_place(&folder, to)?;
    for engine in EngineKind::ALL.into_iter().filter(|engine| *engine != to) {
        discard(&folder, &folder.database(engine))?;
    }
    for leftover in [folder.building(), folder.first_format()] {
        discard(&folder, &leftover)?;
    }
    Ok(Migration {
        from,
        to,
        records,
        commit,
    })
}

/// Builds the new database from a proven view of the old one and puts it in its place.
fn copy_to(folder: &Folder, from: EngineKind, to: EngineKind) -> Result<(), StoreError> {
    let path = folder.path();
    let anchor = read_anchor(folder)?;
    let view = View::open(path, &folder.database(from), folder.second_probe(), from)?;
    let (header, _) = prove(view.engine(), &anchor, path)?;
    build(folder, to, &header, all_rows(view.engine()))?;
    adopt(folder, to)
}

/// Proves the database that `FORMAT` names; gives its records and its last commit.
fn prove_place(folder: &Folder, engine: EngineKind) -> Result<(u64, u64), StoreError> {
    let path = folder.path();
    let anchor = read_anchor(folder)?;
    let view = View::open(path, &folder.database(engine), folder.probe(), engine)?;
    let (header, _) = prove(view.engine(), &anchor, path)?;
    let records = Table::ALL.iter().map(|table| header.records[table.index()]);
    Ok((records.sum(), header.at.commit))
}

pub(crate) fn read_anchor(folder: &Folder) -> Result<Anchor, StoreError> {
    Anchor::read(folder.anchor())
        .map_err(|error| StoreError::from_io("reading the anchor", &error))?
        .map_err(|doubt| StoreError::in_doubt(folder.path(), &doubt))
}
