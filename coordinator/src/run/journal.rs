//! Events and snapshots on disk, and the way back from them.
//!
//! - `note`: what takes the place of a run that can't be read
//! - `parts`: participations and rounds, which a snapshot does not write anew

mod damaged;
mod note;
mod parts;

use std::collections::BTreeSet;

use prost::Message as _;
use serde::{Deserialize, Serialize};
use tributary_model::Digest;
use tributary_proto::{DeviceId, RunId, v1};

use self::damaged::{damaged, encoding};
use self::parts::{Part, PartRecord, with_part};
use super::view::RunView;
use crate::CoordinatorError;
use crate::core::Core;
use crate::engine::{Event, MarkKey, RunState, RunStatus};
use crate::failpoint::Place;
use crate::random::random_bytes;
use tributary_store::key::Key;
use tributary_store::{Batch, Expect, Store, Table};

/// Devices named in one event, so that a record stays well under the store's limit.
pub const DEVICES_PER_EVENT: usize = 500;
/// Contributors of one segment, each with the digest of its update, for the same reason.
pub const CONTRIBUTORS_PER_SEGMENT: usize = 400;

/// Largest message of a run that its record holds; records are small.
const MAX_MESSAGE: usize = 16 * 1024;

/// What is kept of a run beside its events.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunRecord {
    /// Blob of the state at the snapshot; none when this is a note in the place of a run that can't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    snapshot: Option<Digest>,
    /// Events that the snapshot holds; later ones are replayed.
    events: u64,
    /// Participations and rounds, oldest part first. Snapshots of before there were parts hold them
    /// themselves.
    #[serde(default)]
    parts: Vec<PartRecord>,
    /// What lists say of a run that is over, so that its state need not be read.
    #[serde(default)]
    pub over: Option<OverRun>,
    /// True when the snapshot holds digests of updates only as marks, and none of a run that is over; not
    /// in records of before there were marks.
    #[serde(default)]
    pub marked: bool,
}

/// A run that is over, as lists show it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OverRun {
    /// When it was started, in milliseconds since 1970.
    pub started_ms: u64,
    /// Delta of its statements.
    pub delta: f64,
    /// True when it completed and its recipe wants a monitor.
    pub wants_monitor: bool,
    /// The last control variate of the server (SCAFFOLD), which is still served.
    pub control: Option<Digest>,
    /// The message of the control service, in hex.
    message: String,
}

impl OverRun {
    fn of(state: &RunState) -> Option<Self> {
        if state.is_running() {
            return None;
        }
        let mut view = RunView::default();
        view.update(state, "");
        let message = view.run.encode_to_vec();
        // a run with a longer one is read as a whole when it is listed
        (message.len() <= MAX_MESSAGE).then(|| Self {
            message: hex::encode(message),
            ..Self::without_message(state)
        })
    }

    /// What is known of a run without its message.
    pub fn without_message(state: &RunState) -> Self {
        Self {
            started_ms: state.started_ms,
            delta: state.spec.privacy.delta,
            wants_monitor: state.status == RunStatus::Completed && state.spec.is_monitored(),
            control: state.control,
            message: String::new(),
        }
    }

    /// The run as lists show it.
    ///
    /// # Errors
    /// When the record is damaged.
    pub fn message(&self) -> Result<v1::Run, CoordinatorError> {
        let bytes = hex::decode(&self.message).map_err(|error| encoding(error.to_string()))?;
        v1::Run::decode(bytes.as_slice()).map_err(|error| encoding(error.to_string()))
    }
}

impl RunRecord {
    /// The record of a run.
    ///
    /// # Errors
    /// When there is none, or it is damaged.
    pub fn read(core: &Core, run: &RunId) -> Result<Self, CoordinatorError> {
        let record = core.store.get(Table::Runs, run.as_str().as_bytes())?;
        let record = record
            .ok_or_else(|| CoordinatorError::unknown("run", run.as_str(), "it has no record"))?;
        Ok(record.json()?)
    }

    /// Blobs that it names.
    pub fn blobs(&self) -> impl Iterator<Item = Digest> {
        let parts = self.parts.iter().map(|part| part.blob);
        self.snapshot.into_iter().chain(parts)
    }
}

/// A batch that deletes the events of a run.
fn without_events(core: &Core, run: &RunId) -> Result<Batch, CoordinatorError> {
    let mut batch = Batch::new();
    let prefix = Key::new().text(run.as_str()).into_bytes();
    for row in core.store.records(Table::RunEvents, &prefix) {
        batch.delete(Table::RunEvents, row?.0, Expect::Any);
    }
    Ok(batch)
}

/// The journal of one run.
pub struct Journal {
    run: RunId,
    events: u64,
    snapshot: Option<Digest>,
    parts: Vec<PartRecord>,
    /// Devices whose participations may have changed since the last snapshot.
    touched: BTreeSet<DeviceId>,
    /// Rounds that the parts hold.
    recorded: usize,
    /// True when what is on disk holds more of rounds that are over than it should.
    lags: bool,
}

impl Journal {
    /// Starts the journal of a new run: its first snapshot is durable, with the rest of `batch`,
    /// when this returns.
    ///
    /// # Errors
    /// When the store refuses, for example because the run exists.
    pub async fn create(
        core: &Core,
        state: &mut RunState,
        batch: Batch,
    ) -> Result<Self, CoordinatorError> {
        let mut journal = Self {
            run: state.id.clone(),
            events: 0,
            snapshot: None,
            parts: Vec::new(),
            touched: state.participations.keys().cloned().collect(),
            recorded: 0,
            lags: false,
        };
        state.adopt_key(MarkKey::new(random_bytes()?));
        let store = &*core.store;
        journal
            .put_snapshot(core, store, state, (batch, Expect::Absent))
            .await?;
        Ok(journal)
    }

    /// Reads a run back: its snapshot and the events since.
    ///
    /// # Errors
    /// When a record or blob is missing or damaged, or an event does not fit the state.
    pub async fn recover(core: &Core, run: &RunId) -> Result<(Self, RunState), CoordinatorError> {
        let record = RunRecord::read(core, run)?;
        let snapshot = record.snapshot.ok_or_else(|| CoordinatorError::Misfit {
            run: run.to_string(),
            why: "its record names no snapshot".to_owned(),
        })?;
        let bytes = core.vault.get(&snapshot).await?;
        let mut state: RunState = serde_json::from_slice(&bytes).map_err(damaged)?;
        let mut journal = Self {
            run: run.clone(),
            events: record.events,
            snapshot: Some(snapshot),
            // of a snapshot of before there were parts, everything goes into the first
            touched: state.participations.keys().cloned().collect(),
            recorded: 0,
            lags: !record.marked,
            parts: record.parts,
        };
        journal.touch_open_round(&state);
        for part in &journal.parts {
            Part::read(core, part).await?.add_to(&mut state);
            journal.recorded = state.history.len();
        }
        let prefix = Key::new().text(run.as_str()).into_bytes();
        for row in core.store.records(Table::RunEvents, &prefix) {
            let (key, value) = row?;
            if key < event_key(run, record.events) {
                continue;
            }
            if key != event_key(run, journal.events) {
                return Err(CoordinatorError::Misfit {
                    run: run.to_string(),
                    why: format!("event {} is missing", journal.events),
                });
            }
            let event = value.json::<Event>()?;
            let fits = core.failpoint.reach(Place::Applying, run);
            fits.and_then(|()| state.apply(&event).map(drop))
                .map_err(|reject| misfit(run, reject))?;
            journal.committed(std::slice::from_ref(&event));
            journal.lags |= event.ends_round();
        }
        if !state.is_running() {
            state.forget_round();
        }
        Ok((journal, state))
    }

    /// True when a new snapshot is due: one of before there were marks, or a round has ended since.
    pub fn lags(&self) -> bool {
        self.lags
    }

    /// Blobs that its record names.
    pub fn blobs(&self) -> impl Iterator<Item = Digest> {
        let parts = self.parts.iter().map(|part| part.blob);
        self.snapshot.into_iter().chain(parts)
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

    /// Notes that events are durable.
    pub fn committed(&mut self, events: &[Event]) {
        self.events += events.len() as u64;
        for event in events {
            match event {
                // being asked is a participation where devices are charged for it
                Event::Selected { devices, .. } => {
                    let devices = devices.iter().map(|assigned| assigned.device.clone());
                    self.touched.extend(devices);
                }
                Event::Dropped { devices, .. } => self.touched.extend(devices.iter().cloned()),
                Event::Sealed { segment, .. } => {
                    self.touched.extend(segment.contributors.iter().cloned());
                }
                _ => {}
            }
        }
    }

    /// Writes the state as the new snapshot and drops the events that it holds. Participations and
    /// rounds that did not change are not written again.
    ///
    /// # Errors
    /// When a store refuses; the old snapshot and all events are then still there.
    pub async fn snapshot(
        &mut self,
        core: &Core,
        state: &mut RunState,
    ) -> Result<(), CoordinatorError> {
        self.snapshot_in(core, &*core.store, state).await
    }

    /// The same in a store that may be the one behind the guard.
    ///
    /// # Errors
    /// As of [`Journal::snapshot`].
    pub async fn snapshot_in(
        &mut self,
        core: &Core,
        store: &dyn Store,
        state: &mut RunState,
    ) -> Result<(), CoordinatorError> {
        let old = self.snapshot.into_iter();
        let old: Vec<Digest> = old.chain(self.parts.iter().map(|part| part.blob)).collect();
        let batch = without_events(core, &self.run)?;
        self.put_snapshot(core, store, state, (batch, Expect::Any))
            .await?;
        let named = |blob: &Digest| {
            self.snapshot == Some(*blob) || self.parts.iter().any(|part| part.blob == *blob)
        };
        for blob in old.into_iter().filter(|blob| !named(blob)) {
            core.vault.delete(&blob).await?;
        }
        Ok(())
    }

    /// Commits the record of a new snapshot with the rest of `batch`. What the journal knows changes
    /// only once that is durable.
    async fn put_snapshot(
        &mut self,
        core: &Core,
        store: &dyn Store,
        state: &mut RunState,
        (mut batch, expect): (Batch, Expect),
    ) -> Result<(), CoordinatorError> {
        let part = Part::of(state, self.touched.iter(), self.recorded);
        let parts = with_part(core, &self.parts, part).await?;
        let snapshot = core.vault.put(without_parts(state)?).await?;
        let record = RunRecord {
            snapshot: Some(snapshot),
            events: self.events,
            parts: parts.clone(),
            over: OverRun::of(state),
            marked: state.mark_key.is_some() || !state.is_running(),
        };
        batch.put_json(Table::Runs, self.run.as_str(), &record, expect)?;
        store.commit(batch).await?;
        self.lags = !record.marked;
        self.snapshot = Some(snapshot);
        self.parts = parts;
        self.touched.clear();
        self.touch_open_round(state);
        self.recorded = state.history.len();
        Ok(())
    }

    /// Names whoever a snapshot in the midst of a round has in its sums: their participations follow with the
    /// round's end, and the events that named them are gone.
    fn touch_open_round(&mut self, state: &RunState) {
        self.touched.extend(state.round.contributors().cloned());
    }
}

/// The state without what is kept in parts, as JSON.
fn without_parts(state: &mut RunState) -> Result<Vec<u8>, CoordinatorError> {
    let participations = std::mem::take(&mut state.participations);
    let history = std::mem::take(&mut state.history);
    let bytes = serde_json::to_vec(state);
    (state.participations, state.history) = (participations, history);
    bytes.map_err(damaged)
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

fn misfit(run: &RunId, reject: crate::engine::Reject) -> CoordinatorError {
    CoordinatorError::Misfit {
        run: run.to_string(),
        why: reject.to_string(),
    }
}

#[cfg(test)]
mod tests;
