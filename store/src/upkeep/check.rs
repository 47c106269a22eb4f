//! Looks at a store without changing it: what is there, what is damaged, what is missing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::EngineKind;
use crate::disk::anchor::{Anchor, Standing};
use crate::disk::doubt::Doubt;
use crate::disk::folder::Folder;
use crate::disk::format::Format;
use crate::disk::proof::{Survey, read_header, survey};
use crate::disk::schema::{Header, StoreId, decode_record, key_range};
use crate::embedded::staging::Staging;
use crate::engine::view::View;
use crate::upkeep::upgrade;
use crate::{
    Batch, CommitFuture, CommitReceipt, Row, SCHEMA_VERSION, Store, StoreError, Table, Versioned,
};

/// A record whose bytes are not what was put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamagedRecord {
    /// Its table.
    pub table: &'static str,
    /// Its key as text; bytes that are no text as `\xNN`.
    pub key: String,
}

/// What a look at a store found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoreReport {
    /// Format of the folder.
    pub format: u32,
    /// The engine that holds the records.
    pub engine: Option<EngineKind>,
    /// Last commit that the database has.
    pub commit: Option<u64>,
    /// Last commit that the anchor says was acknowledged.
    pub acknowledged: Option<u64>,
    /// Whole records of each table that has any.
    pub records: BTreeMap<&'static str, u64>,
    /// Records that can't be read any more.
    pub damaged: Vec<DamagedRecord>,
    /// Everything that is wrong, in sentences. Empty for a store that opens.
    pub problems: Vec<String>,
}

impl StoreReport {
    /// True when something is wrong with the metadata.
    pub fn is_damaged(&self) -> bool {
        !(self.problems.is_empty() && self.damaged.is_empty())
    }
}

/// A store that is only looked at: it can be read as far as it is whole. What is committed to it is
/// seen by later reads and forgotten when it is dropped; the files stay as they are.
#[derive(Debug)]
pub struct Inspected {
    look: Arc<Look>,
    _folder: Folder,
}

#[derive(Debug)]
struct Look {
    view: View,
    header: Mutex<Header>,
}

impl Look {
    fn commit(&self, batch: &Batch) -> Result<CommitReceipt, StoreError> {
        batch.validate()?;
        let mut header = self.header.lock().unwrap_or_else(PoisonError::into_inner);
        let engine = self.view.engine();
        let mut staging = Staging::after(header.clone(), engine, Path::new(""));
        let receipt = staging.apply(batch)?;
        let (writes, after) = staging.finish();
        engine.write(&writes, &after.encode())?;
        *header = after;
        Ok(receipt)
    }
}

/// Looks at the store in `folder` (the folder `meta` of a data folder). Blocks. Gives what can be
/// read beside the report, unless nothing can.
///
/// # Errors
/// [`StoreError::Locked`] while a coordinator uses the folder, [`StoreError::Foreign`] if it is no
/// store, [`StoreError::Full`] or [`StoreError::Io`]. Damage is no error; it is in the report.
pub fn inspect(folder: &Path) -> Result<(StoreReport, Option<Inspected>), StoreError> {
    let mut report = StoreReport {
        format: SCHEMA_VERSION,
        ..StoreReport::default()
    };
    let folder = match Folder::claim_existing(folder) {
        Ok(folder) => folder,
        Err(error @ StoreError::Corrupt { .. }) => {
            report.problems.push(error.to_string());
            return Ok((report, None));
        }
        Err(error) => return Err(error),
    };
    let engine = match folder.format() {
        Format::Ready(engine) => engine,
        Format::First => {
            report.format = 1;
            report.engine = Some(EngineKind::Sled);
            if let Err(error) = upgrade::prove_first_format(&folder) {
                report.problems.push(error.to_string());
            }
            return Ok((report, None));
        }
        Format::Absent | Format::Unfinished(_) => {
            return Err(StoreError::Foreign {
                folder: folder.path().to_owned(),
                found: "no store: serve the folder once".to_owned(),
            });
        }
    };
    report.engine = Some(engine);
    let anchor = read_anchor(&folder, &mut report)?;
    let database = folder.database(engine);
    let view = match View::open(folder.path(), &database, folder.probe(), engine) {
        Ok(view) => view,
        Err(error @ (StoreError::Corrupt { .. } | StoreError::Unavailable { .. })) => {
            report.problems.push(error.to_string());
            return Ok((report, None));
        }
        Err(error) => return Err(error),
    };
    look(&mut report, &view, anchor.as_ref(), folder.path());
    let header = read_header(view.engine(), folder.path());
    let header = Mutex::new(header.unwrap_or_else(|_| Header::new(StoreId::default())));
    let inspected = Inspected {
        look: Arc::new(Look { view, header }),
        _folder: folder,
    };
    Ok((report, Some(inspected)))
}

fn read_anchor(folder: &Folder, report: &mut StoreReport) -> Result<Option<Anchor>, StoreError> {
    let read = Anchor::read(folder.anchor())
        .map_err(|error| StoreError::from_io("reading the anchor", &error))?;
    match read {
        Ok(anchor) => {
            report.acknowledged = Some(anchor.position().commit);
            Ok(Some(anchor))
        }
        Err(doubt) => {
            report.problems.push(doubt.to_string());
            Ok(None)
        }
    }
}

/// Reads everything and notes what does not fit.
fn look(report: &mut StoreReport, view: &View, anchor: Option<&Anchor>, folder: &Path) {
    let header = match read_header(view.engine(), folder) {
        Ok(header) => {
            report.commit = Some(header.at.commit);
            Some(header)
        }
        Err(error) => {
            report.problems.push(error.to_string());
            None
        }
    };
    if let (Some(header), Some(anchor)) = (&header, anchor) {
        match anchor.judge(header) {
            Ok(Standing::Equal | Standing::Ahead) => {}
            Err(doubt) => report.problems.push(Doubt::to_string(&doubt)),
        }
    }
    match survey(view.engine()) {
        Ok(found) => compare(report, &found, header.as_ref()),
        Err(error) => report.problems.push(error.to_string()),
    }
}

fn compare(report: &mut StoreReport, found: &Survey, header: Option<&Header>) {
    for table in Table::ALL {
        let whole = found.records[table.index()];
        if whole > 0 {
            report.records.insert(table.name(), whole);
        }
        let Some(committed) = header.map(|header| header.records[table.index()]) else {
            continue;
        };
        if whole != committed {
            let problem =
                format!("table {table}: {whole} whole records, {committed} were committed");
            report.problems.push(problem);
        }
    }
    for (table, key) in &found.damaged {
        report.damaged.push(DamagedRecord {
            table: table.name(),
            key: key_text(key),
        });
    }
    if !found.damaged.is_empty() {
        let problem = format!("{} records are damaged", found.damaged.len());
        report.problems.push(problem);
    }
    if header.is_some_and(|header| found.contents != header.contents) && found.damaged.is_empty() {
        let problem = "the records are not those of the last commit: some are missing or older";
        report.problems.push(problem.to_owned());
    }
}

/// A key for people to read.
pub(crate) fn key_text(key: &[u8]) -> String {
    let mut reader = crate::key::KeyReader::new(key);
    let mut parts = Vec::new();
    while !reader.is_at_end() {
        match reader.text() {
            Some(text) => parts.push(text),
            None => match reader.number() {
                Some(number) => parts.push(number.to_string()),
                None => return key.escape_ascii().to_string(),
            },
        }
    }
    parts.join("/")
}

impl Store for Inspected {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        let bytes = self.look.view.engine().read(table, key)?;
        Ok(bytes.and_then(|bytes| Some(decode_record(table, key, &bytes)?.to_versioned())))
    }

    /// The whole records only: damaged ones are in the report.
    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let mut whole = Vec::new();
        let mut after = after.map(<[u8]>::to_vec);
        // a page of damaged records only must not look like the end
        while let Some(limits) = key_range(prefix, after.as_deref()) {
            let rows = self.look.view.engine().scan(table, limits, limit)?;
            let is_last = rows.len() < limit;
            after = rows.last().map(|(key, _)| key.clone());
            whole.extend(rows.into_iter().filter_map(|(key, bytes)| {
                let record = decode_record(table, &key, &bytes)?.to_versioned();
                Some((key, record))
            }));
            if is_last || whole.len() >= limit {
                break;
            }
        }
        whole.truncate(limit);
        Ok(whole)
    }

    fn commit(&self, batch: Batch) -> CommitFuture {
        let look = Arc::clone(&self.look);
        Box::pin(async move { look.commit(&batch) })
    }

    fn failure(&self) -> Option<StoreError> {
        None
    }
}
