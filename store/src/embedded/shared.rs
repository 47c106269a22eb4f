//! What the writer thread and the readers of an open store share: the engine, the anchor, the header,
//! and the failure that stopped the store.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::disk::anchor::{Anchor, Standing};
use crate::disk::proof::read_header;
use crate::disk::schema::{Header, decode_record};
use crate::embedded::staging::Staging;
use crate::engine::Engine;
use crate::{Batch, CommitReceipt, StoreError, Table, Versioned};

/// What the writer thread and the readers share.
#[derive(Debug)]
pub(crate) struct Shared {
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
    pub(crate) fn settled(
        folder: &Path,
        engine: Box<dyn Engine>,
        mut anchor: Anchor,
        proven: &Header,
        standing: Standing,
    ) -> Result<Self, StoreError> {
        let header = read_header(&*engine, folder)?;
        if header != *proven {
            let detail = "it changed while it was being opened".to_owned();
            return Err(StoreError::corrupt(folder, detail));
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

    pub(crate) fn engine(&self) -> &dyn Engine {
        &*self.engine
    }

    /// Commits a group: checks and stages each batch, writes all that were accepted in one
    /// transaction, moves the anchor, and answers each.
    pub(crate) fn commit(&self, batches: &[&Batch]) -> Vec<Result<CommitReceipt, StoreError>> {
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
    pub(crate) fn available(&self) -> Result<(), StoreError> {
        self.failure
            .get()
            .map_or(Ok(()), |cause| Err(StoreError::unavailable(cause)))
    }

    /// Stops the store: what the disk holds is not known until the next open. Gives the error that
    /// says so.
    pub(crate) fn stop(&self, cause: StoreError) -> StoreError {
        let stopped = StoreError::unavailable(&cause);
        if self.failure.set(cause).is_ok() {
            tracing::error!(reason = %stopped, "the metadata store stopped");
        }
        stopped
    }

    /// Stops the store after an error of the engine's own: those mean a failing disk, even those of
    /// a read, which may have had to write pages out to make room.
    pub(crate) fn note(&self, error: &StoreError) {
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

    /// A record that was read, checked.
    pub(crate) fn decode(
        &self,
        table: Table,
        key: &[u8],
        bytes: &[u8],
    ) -> Result<Versioned, StoreError> {
        let record = decode_record(table, key, bytes).ok_or_else(|| {
            let detail = format!("a record of table {table} has another checksum than it states");
            StoreError::corrupt(&self.folder, detail)
        })?;
        Ok(record.to_versioned())
    }
}
