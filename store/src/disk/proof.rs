//! Proves that an engine holds what the store acknowledged: all of it, whole, and nothing else.

use std::path::Path;

use crate::StoreError;
use crate::disk::anchor::{Anchor, Standing};
use crate::disk::schema::{Header, Position, decode_record, key_range};
use crate::engine::Engine;
use crate::table::Table;

/// Rows read at a time: at most 16 MiB of values.
const PAGE: usize = 256;

/// What a pass over all records found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Survey {
    /// Sum of the checksums of all whole records.
    pub(crate) contents: u128,
    /// Whole records of each table.
    pub(crate) records: [u64; Table::ALL.len()],
    /// Tables and keys of records whose bytes are not what was put there.
    pub(crate) damaged: Vec<(Table, Vec<u8>)>,
}

/// Reads every record and checks it.
pub(crate) fn survey(engine: &dyn Engine) -> Result<Survey, StoreError> {
    let mut found = Survey {
        contents: 0,
        records: [0; Table::ALL.len()],
        damaged: Vec::new(),
    };
    for table in Table::ALL {
        let mut after: Option<Vec<u8>> = None;
        while let Some(limits) = key_range(b"", after.as_deref()) {
            let rows = engine.scan(table, limits, PAGE)?;
            for (key, bytes) in &rows {
                match decode_record(table, key, bytes) {
                    Some(record) => {
                        found.contents = found.contents.wrapping_add(record.checksum);
                        found.records[table.index()] += 1;
                    }
                    None => found.damaged.push((table, key.clone())),
                }
            }
            if rows.len() < PAGE {
                break;
            }
            after = rows.into_iter().next_back().map(|(key, _)| key);
        }
    }
    Ok(found)
}

/// The header of an engine.
pub(crate) fn read_header(engine: &dyn Engine, folder: &Path) -> Result<Header, StoreError> {
    let Some(bytes) = engine.header()? else {
        return Err(StoreError::corrupt(
            folder,
            "its header is missing".to_owned(),
        ));
    };
    Header::decode(&bytes)
        .ok_or_else(|| StoreError::corrupt(folder, "its header is damaged".to_owned()))
}

/// Reads everything: the header must fit the anchor, and the records the header.
pub(crate) fn prove(
    engine: &dyn Engine,
    anchor: &Anchor,
    folder: &Path,
) -> Result<(Header, Standing), StoreError> {
    let header = read_header(engine, folder)?;
    let standing = anchor
        .judge(&header)
        .map_err(|doubt| StoreError::in_doubt(folder, &doubt))?;
    let found = survey(engine)?;
    if let Some((table, _)) = found.damaged.first() {
        let count = found.damaged.len();
        let detail = format!("{count} records are damaged, the first in table {table}");
        return Err(StoreError::corrupt(folder, detail));
    }
    for table in Table::ALL {
        let (stored, committed) = (found.records[table.index()], header.records[table.index()]);
        if stored != committed {
            return Err(StoreError::corrupt(
                folder,
                format!("table {table} holds {stored} records, {committed} were committed"),
            ));
        }
    }
    if found.contents != header.contents {
        let detail = "some of its records are older than the last commit".to_owned();
        return Err(StoreError::corrupt(folder, detail));
    }
    Ok((header, standing))
}

/// Whether an engine never held a commit.
pub(crate) fn is_at_start(header: &Header) -> bool {
    header.at == Position::start_of(&header.store)
}
