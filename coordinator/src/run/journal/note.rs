//! A note in the place of a run that can't be read: all that stays is what lists say of it.

use prost::Message as _;
use tributary_proto::{RunId, v1};

use super::{OverRun, RunRecord, without_events};
use crate::CoordinatorError;
use crate::core::Core;
use tributary_store::{Expect, Store, Table};

impl RunRecord {
    /// True when it is a note in the place of a run that can't be read: there is no more than it says.
    pub fn is_note(&self) -> bool {
        self.snapshot.is_none() && self.over.is_some()
    }

    /// A note that a run is over which can't be read.
    pub fn note(run: &v1::Run, delta: f64) -> Self {
        let over = OverRun {
            started_ms: run.started_unix_ms,
            delta,
            wants_monitor: false,
            control: None,
            message: hex::encode(run.encode_to_vec()),
        };
        Self {
            snapshot: None,
            events: 0,
            parts: Vec::new(),
            over: Some(over),
            marked: true,
        }
    }

    /// Takes the place of all that is on disk of a run.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn put(
        &self,
        core: &Core,
        store: &dyn Store,
        run: &RunId,
    ) -> Result<(), CoordinatorError> {
        let mut batch = without_events(core, run)?;
        batch.put_json(Table::Runs, run.as_str(), self, Expect::Any)?;
        store.commit(batch).await?;
        Ok(())
    }
}
