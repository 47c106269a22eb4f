//! Saves what is left of a damaged store, after keeping a copy of all of it.
//!
//! Every way to read the database is tried on views that leave it as it is (sled with and without
//! its snapshot, redb with and without its own check); the best is copied, record by whole record,
//! into a new database. If anything that was acknowledged is missing, or can't be proven to be there,
//! the new store is another one (another id, a chain of its own, commit numbers above all that were
//! used) and holds the record [`REPAIR_KEY`], so that nobody takes its ledger for the whole one.

use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::anchor::{Anchor, Standing};
use crate::disk::doubt::Doubt;
use crate::disk::files;
use crate::disk::folder::Folder;
use crate::disk::format::Format;
use crate::disk::proof::read_header;
use crate::disk::schema::{self, Header, decode_record, encode_record};
use crate::engine::view::View;
use crate::engine::{Engine, EngineKind, StoredRow};
use crate::upkeep::build::{adopt, build, discard, rows_of};
use crate::upkeep::check::{DamagedRecord, inspect, key_text};
use crate::{StoreError, Table};

/// Key in [`Table::Meta`] of the note that records were lost.
pub const REPAIR_KEY: &[u8] = b"store-repaired";

/// What a repaired store says of itself, in [`Table::Meta`] under [`REPAIR_KEY`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairNote {
    /// What was lost, in sentences.
    pub lost: Vec<String>,
}

/// What a repair did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repair {
    /// The copy of the folder as it was; none when nothing was wrong.
    pub kept: Option<PathBuf>,
    /// The engine that holds the records.
    pub engine: EngineKind,
    /// Records that are in the store now.
    pub records: u64,
    /// Records that could not be read any more.
    pub damaged: Vec<DamagedRecord>,
    /// What is missing or can't be proven to be there, in sentences. Empty when nothing is: then the
    /// ledger is as good as before.
    pub lost: Vec<String>,
}

/// Repairs the store in `folder` (the folder `meta` of a data folder). Blocks.
///
/// # Errors
/// [`StoreError::Locked`] while a coordinator uses the folder; [`StoreError::BeyondRepair`] if nothing
/// can be read at all; [`StoreError::Full`] if there is no room for the copy and the new database.
pub fn repair(folder: &Path) -> Result<Repair, StoreError> {
    if let Some(nothing) = nothing_to_do(folder)? {
        return Ok(nothing);
    }
    let mut folder = Folder::claim_damaged(folder)?;
    let anchor = Anchor::read(folder.anchor())
        .map_err(|error| StoreError::from_io("reading the anchor", &error))?;
    let kept = keep_copy(&folder)?;
    let best = match best_of(&folder, &anchor) {
        Ok(best) => best,
        Err(error) => {
            // it is the same as what stays in its place
            files::remove_tree(&kept)
                .map_err(|error| StoreError::from_io("removing a copy of the store", &error))?;
            return Err(error);
        }
    };
    let engine = best.engine;
    let lost = best.lost(&anchor);
    let (header, rows) = best.rebuilt(&anchor, &lost)?;
    let damaged = best.damaged_records();
    drop(best);
    let records = rows.len() as u64;
    build(&folder, engine, &header, rows.into_iter().map(Ok))?;
    adopt(&folder, engine)?;
    Anchor::create(folder.anchor(), header.store, header.at)
        .map_err(|error| StoreError::from_io("writing the anchor", &error))?;
    folder.set_format(Format::Ready(engine))?;
    for other in EngineKind::ALL.into_iter().filter(|other| *other != engine) {
        discard(&folder, &folder.database(other))?;
    }
    Ok(Repair {
        kept: Some(kept),
        engine,
        records,
        damaged,
        lost,
    })
}

/// The answer for a store in which nothing is wrong.
fn nothing_to_do(folder: &Path) -> Result<Option<Repair>, StoreError> {
    let (report, _) = match inspect(folder) {
        Ok(found) => found,
        // a damaged FORMAT looks like a foreign one
        Err(StoreError::Foreign { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let engine = report.engine.filter(|_| report.problems.is_empty());
    Ok(engine.map(|engine| Repair {
        kept: None,
        engine,
        records: report.records.values().sum(),
        damaged: Vec::new(),
        lost: Vec::new(),
    }))
}

/// Copies the folder beside itself, under a name that is free.
fn keep_copy(folder: &Folder) -> Result<PathBuf, StoreError> {
    let keeping = |error| StoreError::from_io("keeping a copy of the store", &error);
    for leftover in [folder.probe(), folder.second_probe()] {
        files::remove_tree(&leftover).map_err(keeping)?;
    }
    let path = folder.path();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let kept = (1_u32..)
        .map(|number| path.with_file_name(format!("{name}.before-repair-{number}")))
        .find(|kept| !kept.exists())
        .unwrap_or_default();
    files::copy_tree(path, &kept)
        .and_then(|()| files::sync_tree(&kept))
        .map_err(keeping)?;
    Ok(kept)
}

/// One way to read the database.
struct Candidate {
    engine: EngineKind,
    header: Option<Header>,
    standing: Result<Standing, Doubt>,
    rows: Vec<StoredRow>,
    damaged: Vec<(Table, Vec<u8>)>,
    unreadable: Vec<Table>,
}

impl Candidate {
    /// Reads all that can be read.
    fn read(
        engine: EngineKind,
        database: &dyn Engine,
        anchor: &Result<Anchor, Doubt>,
        folder: &Path,
    ) -> Self {
        let header = read_header(database, folder).ok();
        let standing = match (&header, anchor) {
            (Some(header), Ok(anchor)) => anchor.judge(header),
            (_, Err(doubt)) => Err(doubt.clone()),
            (None, Ok(_)) => Err(Doubt::Unreadable),
        };
        let mut found = Self {
            engine,
            header,
            standing,
            rows: Vec::new(),
            damaged: Vec::new(),
            unreadable: Vec::new(),
        };
        for table in Table::ALL {
            found.read_table(database, table);
        }
        found
    }

    fn read_table(&mut self, database: &dyn Engine, table: Table) {
        let read = panic::catch_unwind(AssertUnwindSafe(|| {
            let (mut rows, mut damaged) = (Vec::new(), Vec::new());
            for row in rows_of(database, table) {
                let Ok((table, key, bytes)) = row else {
                    return (rows, damaged, true);
                };
                match decode_record(table, &key, &bytes) {
                    Some(_) => rows.push((table, key, bytes)),
                    None => damaged.push((table, key)),
                }
            }
            (rows, damaged, false)
        }));
        // an engine may panic on damaged pages
        let (rows, damaged, is_cut) = read.unwrap_or((Vec::new(), Vec::new(), true));
        self.rows.extend(rows);
        self.damaged.extend(damaged);
        if is_cut {
            self.unreadable.push(table);
        }
    }

    /// Whether the records are exactly those that its header counts.
    fn is_whole(&self) -> bool {
        let Some(header) = &self.header else {
            return false;
        };
        let sum = |sum: u128, (table, key, bytes): &StoredRow| {
            let record = decode_record(*table, key, bytes);
            sum.wrapping_add(record.map_or(0, |record| record.checksum))
        };
        let is_read = self.damaged.is_empty() && self.unreadable.is_empty();
        is_read && self.rows.iter().fold(0, sum) == header.contents
    }

    /// Sorts the better one last.
    fn rank(&self) -> (bool, bool, u64, usize) {
        let commit = self.header.as_ref().map_or(0, |header| header.at.commit);
        let is_proven = self.standing.is_ok() && self.is_whole();
        (is_proven, self.is_whole(), commit, self.rows.len())
    }

    /// What is missing or can't be proven, in sentences.
    fn lost(&self, anchor: &Result<Anchor, Doubt>) -> Vec<String> {
        let mut lost = Vec::new();
        if self.header.is_none() {
            lost.push(
                "the header of the database is gone: nobody knows what is missing".to_owned(),
            );
        }
        match (&self.standing, anchor) {
            (Ok(_), _) => {}
            (Err(doubt @ (Doubt::RolledBack { .. } | Doubt::OtherHistory { .. })), _) => {
                lost.push(doubt.to_string());
            }
            (Err(doubt), _) if self.header.is_some() => {
                lost.push(format!(
                    "{doubt}: it can't be proven that nothing is missing"
                ));
            }
            (Err(_), _) => {}
        }
        if !self.damaged.is_empty() {
            let count = self.damaged.len();
            lost.push(format!("{count} records are damaged and were left out"));
        }
        for table in &self.unreadable {
            lost.push(format!("table {table} can't be read to its end"));
        }
        if lost.is_empty() && !self.is_whole() {
            lost.push("some records are missing or older than the last commit".to_owned());
        }
        lost
    }

    fn damaged_records(&self) -> Vec<DamagedRecord> {
        let damaged = self.damaged.iter();
        damaged
            .map(|(table, key)| DamagedRecord {
                table: table.name(),
                key: key_text(key),
            })
            .collect()
    }

    /// The header and the rows of the repaired store: the same ones if nothing was lost, else those
    /// of a store of its own with a note in it.
    fn rebuilt(
        &self,
        anchor: &Result<Anchor, Doubt>,
        lost: &[String],
    ) -> Result<(Header, Vec<StoredRow>), StoreError> {
        if let Some(header) = self.header.as_ref().filter(|_| lost.is_empty()) {
            return Ok((header.clone(), self.rows.clone()));
        }
        let versions = self.rows.iter().filter_map(|(table, key, bytes)| {
            decode_record(*table, key, bytes).map(|record| record.version)
        });
        let known = self.header.as_ref().map_or(0, |header| header.at.commit);
        let acknowledged = anchor.as_ref().map_or(0, |anchor| anchor.position().commit);
        let commit = versions.fold(known.max(acknowledged), u64::max) + 1;
        let note = RepairNote {
            lost: lost.to_vec(),
        };
        let note = serde_json::to_vec(&note).map_err(|error| StoreError::Encoding {
            message: error.to_string(),
        })?;
        let is_note = |table: Table, key: &[u8]| table == Table::Meta && key == REPAIR_KEY;
        let mut rows = self.rows.clone();
        rows.retain(|(table, key, _)| !is_note(*table, key));
        let (bytes, _) = encode_record(Table::Meta, REPAIR_KEY, commit, &note);
        rows.push((Table::Meta, REPAIR_KEY.to_vec(), bytes));
        let mut header = Header::new(schema::new_store_id()?);
        for (table, key, bytes) in &rows {
            if let Some(record) = decode_record(*table, key, bytes) {
                header.contents = header.contents.wrapping_add(record.checksum);
                header.records[table.index()] += 1;
            }
        }
        header.at.commit = commit;
        header.before = header.at;
        Ok((header, rows))
    }
}

/// Tries every database of the folder in every way, and takes the best.
fn best_of(folder: &Folder, anchor: &Result<Anchor, Doubt>) -> Result<Candidate, StoreError> {
    let path = folder.path();
    let mut best: Option<Candidate> = None;
    for place in [
        folder.database(EngineKind::Sled),
        folder.database(EngineKind::Redb),
        folder.building(),
    ] {
        let Some(engine) = EngineKind::of_files(&place) else {
            continue;
        };
        for salvage in [false, true] {
            let view = match salvage {
                false => View::open(path, &place, folder.probe(), engine),
                true => View::salvage(path, &place, folder.probe(), engine),
            };
            let Ok(view) = view else { continue };
            let candidate = Candidate::read(engine, view.engine(), anchor, path);
            if best
                .as_ref()
                .is_none_or(|best| candidate.rank() > best.rank())
            {
                best = Some(candidate);
            }
        }
    }
    let has_anything = |found: &Candidate| found.header.is_some() || !found.rows.is_empty();
    best.filter(has_anything)
        .ok_or_else(|| StoreError::BeyondRepair {
            folder: path.to_owned(),
        })
}
