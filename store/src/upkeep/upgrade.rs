//! Folders of format 1: sled, records without checksums, no anchor.
//!
//! ```text
//! record   tag 1 | commit number, u64 | value
//! header   format 1, u32 | last commit number, u64 | records of each of 12 tables, u64
//! ```
//!
//! The old database is proven as well as format 1 can be, moved to `db.format-1`, and read from
//! there into a new one. `FORMAT` says 1 until the new one and its anchor are on the disk, so an
//! interrupted upgrade starts again from `db.format-1`; that goes once the new store was opened.

use std::fs;
use std::path::Path;

use crate::disk::anchor::Anchor;
use crate::disk::files;
use crate::disk::folder::Folder;
use crate::disk::format::Format;
use crate::disk::schema::{self, Header, encode_record};
use crate::engine::view::View;
use crate::engine::{Engine, EngineKind, StoredRow};
use crate::upkeep::build::{adopt, all_rows, build, discard};
use crate::{StoreError, Table};

const RECORD_TAG: u8 = 1;
/// Tables of format 1, in the order of [`Table::ALL`].
const TABLES: usize = 12;

/// Brings a folder of format 1 to the present one, on `engine`.
pub(crate) fn from_first_format(folder: &mut Folder, engine: EngineKind) -> Result<(), StoreError> {
    let upgrading = |error| StoreError::from_io("upgrading the store", &error);
    let (old, kept) = (folder.database(EngineKind::Sled), folder.first_format());
    let source = if kept.is_dir() { &kept } else { &old };
    let path = folder.path().to_owned();
    let view = View::open(&path, source, folder.second_probe(), EngineKind::Sled)?;
    let last_commit = prove(view.engine(), &path)?;
    if !kept.is_dir() {
        fs::rename(&old, &kept)
            .and_then(|()| files::sync_folder(&path))
            .map_err(upgrading)?;
    }
    let header = header_of(view.engine(), &path, last_commit)?;
    build(folder, engine, &header, upgraded(view.engine(), &path))?;
    drop(view);
    for engine in EngineKind::ALL {
        discard(folder, &folder.database(engine))?;
    }
    adopt(folder, engine)?;
    Anchor::create(folder.anchor(), header.store, header.at).map_err(upgrading)?;
    folder.set_format(Format::Ready(engine))?;
    tracing::info!(%engine, "upgraded the metadata store from format 1");
    Ok(())
}

/// Proves a folder of format 1 without changing it.
pub(crate) fn prove_first_format(folder: &Folder) -> Result<(), StoreError> {
    let (old, kept) = (folder.database(EngineKind::Sled), folder.first_format());
    let source = if kept.is_dir() { kept } else { old };
    let view = View::open(folder.path(), &source, folder.probe(), EngineKind::Sled)?;
    prove(view.engine(), folder.path()).map(drop)
}

/// Version and value of a record of format 1.
fn decode(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (version, value) = rest.split_first_chunk::<8>()?;
    (*tag == RECORD_TAG).then(|| (u64::from_be_bytes(*version), value))
}

fn damaged(folder: &Path, table: Table) -> StoreError {
    StoreError::corrupt(
        folder,
        format!("table {table} holds a record that is not ours"),
    )
}

/// Checks that every table has the records the header counts, none newer than the last commit,
/// whose number it gives.
fn prove(engine: &dyn Engine, folder: &Path) -> Result<u64, StoreError> {
    let header = engine.header()?.unwrap_or_default();
    let numbers = header.strip_prefix(&1_u32.to_be_bytes());
    let numbers: Vec<u64> = match numbers.map(<[u8]>::as_chunks::<8>) {
        Some((numbers, [])) if numbers.len() == 1 + TABLES => numbers
            .iter()
            .map(|bytes| u64::from_be_bytes(*bytes))
            .collect(),
        _ => {
            return Err(StoreError::corrupt(
                folder,
                "its header is damaged".to_owned(),
            ));
        }
    };
    let last_commit = numbers[0];
    let mut found = [0_u64; TABLES];
    for row in all_rows(engine) {
        let (table, _, bytes) = row?;
        let is_ours = decode(&bytes).is_some_and(|(version, _)| version <= last_commit);
        match found.get_mut(table.index()) {
            Some(count) if is_ours => *count += 1,
            _ => return Err(damaged(folder, table)),
        }
    }
    for ((table, found), expected) in Table::ALL.iter().zip(found).zip(&numbers[1..]) {
        if found != *expected {
            let detail = format!("table {table} has {found} of {expected} records");
            return Err(StoreError::corrupt(folder, detail));
        }
    }
    Ok(last_commit)
}

/// The records in the present form.
fn upgraded<'e>(
    engine: &'e dyn Engine,
    folder: &'e Path,
) -> impl Iterator<Item = Result<StoredRow, StoreError>> + 'e {
    all_rows(engine).map(move |row| {
        let (table, key, bytes) = row?;
        let (version, value) = decode(&bytes).ok_or_else(|| damaged(folder, table))?;
        let (record, _) = encode_record(table, &key, version, value);
        Ok((table, key, record))
    })
}

/// The first header in the present form. The chain starts here.
fn header_of(engine: &dyn Engine, folder: &Path, last_commit: u64) -> Result<Header, StoreError> {
    let mut header = Header::new(schema::new_store_id()?);
    for row in all_rows(engine) {
        let (table, key, bytes) = row?;
        let (version, value) = decode(&bytes).ok_or_else(|| damaged(folder, table))?;
        let (_, checksum) = encode_record(table, &key, version, value);
        header.contents = header.contents.wrapping_add(checksum);
        header.records[table.index()] += 1;
    }
    header.at.commit = last_commit;
    header.before = header.at;
    Ok(header)
}
