//! A group of batches on its way: each is checked against what is stored and what the batches
//! before it in the group write, and changes nothing until the whole group is written.

use crate::disk::checksum::Link;
use crate::disk::schema::{Header, Position, StoredRecord, decode_record, encode_record};
use crate::engine::{Engine, Writes};
use crate::{Batch, CommitReceipt, Operation, StoreError, Table};

/// The batches of a group that were accepted so far.
pub(crate) struct Staging<'e> {
    engine: &'e dyn Engine,
    /// The store's folder, for messages.
    folder: &'e std::path::Path,
    header: Header,
    writes: Writes,
    bytes: u64,
}

/// What a batch does to one record, before the batch is known to be acceptable.
struct Change<'b> {
    table: Table,
    key: &'b [u8],
    old: Option<u128>,
    new: Option<(Vec<u8>, u128)>,
}

impl<'e> Staging<'e> {
    /// An empty group after `header`.
    pub(crate) fn after(
        header: Header,
        engine: &'e dyn Engine,
        folder: &'e std::path::Path,
    ) -> Self {
        let before = header.at;
        Self {
            engine,
            folder,
            header: Header { before, ..header },
            writes: Writes::new(),
            bytes: 0,
        }
    }

    /// Checks one batch and stages what it writes.
    pub(crate) fn apply(&mut self, batch: &Batch) -> Result<CommitReceipt, StoreError> {
        let version = self.header.at.commit + 1;
        let mut changes = Vec::with_capacity(batch.len());
        for operation in batch.operations() {
            let (table, key, _) = operation.target();
            let stored = self.read(table, key)?;
            let found = match &stored {
                Some(bytes) => Some(self.decode(table, key, bytes)?),
                None => None,
            };
            operation.check(found.map(|record| record.version))?;
            let old = found.map(|record| record.checksum);
            let new = match operation {
                Operation::Put { value, .. } => Some(encode_record(table, key, version, value)),
                Operation::Delete { .. } if old.is_some() => None,
                Operation::Delete { .. } | Operation::Check { .. } => continue,
            };
            changes.push(Change {
                table,
                key,
                old,
                new,
            });
        }
        if !changes.is_empty() {
            self.stage(version, changes);
        }
        Ok(CommitReceipt {
            version: self.header.at.commit,
        })
    }

    fn stage(&mut self, version: u64, changes: Vec<Change<'_>>) {
        let mut link = Link::after(&self.header.at.chain, version);
        for change in changes {
            let checksum = change.new.as_ref().map(|(_, checksum)| *checksum);
            link.add(change.table, change.key, checksum);
            let header = &mut self.header;
            header.contents = header
                .contents
                .wrapping_sub(change.old.unwrap_or(0))
                .wrapping_add(checksum.unwrap_or(0));
            let count = &mut header.records[change.table.index()];
            match (change.old, checksum) {
                (None, Some(_)) => *count += 1,
                (Some(_), None) => *count = count.saturating_sub(1),
                _ => {}
            }
            let record = change.new.map(|(bytes, _)| bytes);
            self.bytes += (change.key.len() + record.as_ref().map_or(0, Vec::len)) as u64;
            self.writes
                .insert((change.table, change.key.to_vec()), record);
        }
        self.header.at = Position {
            commit: version,
            chain: link.finish(),
        };
    }

    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.writes.get(&(table, key.to_vec())) {
            Some(staged) => Ok(staged.clone()),
            None => self.engine.read(table, key),
        }
    }

    fn decode<'b>(
        &self,
        table: Table,
        key: &[u8],
        bytes: &'b [u8],
    ) -> Result<StoredRecord<'b>, StoreError> {
        decode_record(table, key, bytes).ok_or_else(|| {
            let detail = format!("a record of table {table} has another checksum than it states");
            StoreError::corrupt(self.folder, detail)
        })
    }

    /// Whether nothing is to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// About how many bytes are to be written.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is to be written, and the header that goes with it.
    pub(crate) fn finish(self) -> (Writes, Header) {
        (self.writes, self.header)
    }
}
