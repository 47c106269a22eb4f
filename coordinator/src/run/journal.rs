//! Events and snapshots on disk, and the way back from them.

use serde::{Deserialize, Serialize};
use tributary_model::Digest;
use tributary_proto::RunId;

use crate::CoordinatorError;
use crate::core::Core;
use crate::engine::{Event, RunState};
use crate::store::key::Key;
use crate::store::{Batch, Expect, Table};

/// Devices named in one event, so that a record stays well under the store's limit.
pub const DEVICES_PER_EVENT: usize = 500;
/// Contributors of one segment, each with the digest of its update, for the same reason.
pub const CONTRIBUTORS_PER_SEGMENT: usize = 400;

/// What is kept of a run beside its events.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct RunRecord {
    /// Blob of the state at the snapshot.
    snapshot: Digest,
    /// Events that the snapshot holds; later ones are replayed.
    events: u64,
}

/// The journal of one run.
pub struct Journal {
    run: RunId,
    events: u64,
    snapshot: Option<Digest>,
}

impl Journal {
    /// Starts the journal of a new run: its first snapshot is durable, with the rest of `batch`,
    /// when this returns.
    ///
    /// # Errors
    /// When the store refuses, for example because the run exists.
    pub async fn create(
        core: &Core,
        state: &RunState,
        mut batch: Batch,
    ) -> Result<Self, CoordinatorError> {
        let mut journal = Self {
            run: state.id.clone(),
            events: 0,
            snapshot: None,
        };
        let snapshot = journal
            .put_snapshot(core, state, &mut batch, Expect::Absent)
            .await?;
        core.store.commit(batch).await?;
        journal.snapshot = Some(snapshot);
        Ok(journal)
    }

    /// Reads a run back: its snapshot and the events since.
    ///
    /// # Errors
    /// When a record or blob is missing or damaged.
    pub async fn recover(core: &Core, run: &RunId) -> Result<(Self, RunState), CoordinatorError> {
        let record = core.store.get(Table::Runs, run.as_str().as_bytes())?;
        let record: RunRecord = record
            .ok_or_else(|| CoordinatorError::unknown("run", run.as_str(), "it has no record"))?
            .json()?;
        let bytes = core.vault.get(&record.snapshot).await?;
        let mut state: RunState = serde_json::from_slice(&bytes).map_err(damaged)?;
        let mut events = record.events;
        let prefix = Key::new().text(run.as_str()).into_bytes();
        for row in core.store.records(Table::RunEvents, &prefix) {
            let (key, value) = row?;
            if key < event_key(run, record.events) {
                continue;
            }
            state.apply(&value.json::<Event>()?)?;
            events += 1;
        }
        Ok((
            Self {
                run: run.clone(),
                events,
                snapshot: Some(record.snapshot),
            },
            state,
        ))
    }

    /// The blob of the last snapshot.
    pub fn snapshot_digest(&self) -> Option<Digest> {
        self.snapshot
    }

    /// Adds events to a batch; once the batch is durable, [`Journal::committed`] must follow.
    ///
    /// # Errors
    /// When an event is too large.
    pub fn put(&self, events: &[Event], batch: &mut Batch) -> Result<(), CoordinatorError> {
        for (number, event) in (self.events..).zip(events) {
            let key = event_key(&self.run, number);
            batch.put_json(Table::RunEvents, key, event, Expect::Absent)?;
        }
        Ok(())
    }

    /// Notes that so many events are durable.
    pub fn committed(&mut self, events: usize) {
        self.events += events as u64;
    }

    /// Writes the state as the new snapshot and drops the events that it holds.
    ///
    /// # Errors
    /// When a store refuses; the old snapshot and all events are then still there.
    pub async fn snapshot(
        &mut self,
        core: &Core,
        state: &RunState,
    ) -> Result<(), CoordinatorError> {
        let mut batch = Batch::new();
        let snapshot = self
            .put_snapshot(core, state, &mut batch, Expect::Any)
            .await?;
        let prefix = Key::new().text(self.run.as_str()).into_bytes();
        for row in core.store.records(Table::RunEvents, &prefix) {
            batch.delete(Table::RunEvents, row?.0, Expect::Any);
        }
        core.store.commit(batch).await?;
        // only now: after a failed commit the old one is still the one that the record names
        let old = self.snapshot.replace(snapshot);
        if let Some(old) = old.filter(|old| *old != snapshot) {
            core.vault.delete(&old).await?;
        }
        Ok(())
    }

    /// Writes the state as a blob and adds its record to a batch.
    async fn put_snapshot(
        &self,
        core: &Core,
        state: &RunState,
        batch: &mut Batch,
        expect: Expect,
    ) -> Result<Digest, CoordinatorError> {
        let bytes = serde_json::to_vec(state).map_err(damaged)?;
        let snapshot = core.vault.put(bytes).await?;
        let record = RunRecord {
            snapshot,
            events: self.events,
        };
        batch.put_json(Table::Runs, self.run.as_str(), &record, expect)?;
        Ok(snapshot)
    }
}

/// The ids of all runs on disk.
///
/// # Errors
/// When the store can't be read.
pub fn run_ids(core: &Core) -> Result<Vec<RunId>, CoordinatorError> {
    let rows = core.store.records(Table::Runs, b"");
    rows.map(|row| {
        Ok(RunId::try_from(
            String::from_utf8_lossy(&row?.0).into_owned(),
        )?)
    })
    .collect()
}

fn event_key(run: &RunId, number: u64) -> Vec<u8> {
    Key::new().text(run.as_str()).number(number).into_bytes()
}

fn damaged(error: serde_json::Error) -> CoordinatorError {
    CoordinatorError::Store(crate::store::StoreError::Encoding {
        message: error.to_string(),
    })
}

#[cfg(test)]
mod tests;
