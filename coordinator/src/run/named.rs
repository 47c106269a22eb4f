//! The blobs that the records of a run name.

use tributary_model::Digest;
use tributary_proto::RunId;

use super::journal::{Journal, RunRecord, run_ids};
use crate::CoordinatorError;
use crate::core::Core;

/// Blobs that a run needs, each with what it is to the run.
#[derive(Debug, Default)]
pub struct NamedBlobs {
    /// Those of [`Core::vault`].
    pub vault: Vec<(Digest, &'static str)>,
    /// Those of [`Core::blobs`] that no model or build record names.
    pub blobs: Vec<(Digest, &'static str)>,
    /// Whether the run goes on when the folder is served.
    pub goes_on: bool,
}

/// The ids of all runs on disk.
///
/// # Errors
/// When the store can't be read.
pub fn stored_runs(core: &Core) -> Result<Vec<RunId>, CoordinatorError> {
    run_ids(core)
}

/// Reads a run back and says which blobs it names.
///
/// # Errors
/// When a record or blob of the run is missing or damaged.
pub async fn named_blobs(core: &Core, run: &RunId) -> Result<NamedBlobs, CoordinatorError> {
    let mut named = NamedBlobs::default();
    let record = RunRecord::read(core, run)?;
    if record.is_note() {
        return Ok(named);
    }
    named.goes_on = record.over.is_none();
    let (journal, state) = Journal::recover(core, run).await?;
    named
        .vault
        .extend(journal.blobs().map(|digest| (digest, "snapshot")));
    named
        .vault
        .extend(state.server.map(|digest| (digest, "server state")));
    if state.is_running() {
        let segments = state.round.segments.iter();
        named
            .vault
            .extend(segments.map(|segment| (segment.digest, "partial sum")));
    }
    named
        .blobs
        .extend(state.control.map(|digest| (digest, "control variate")));
    Ok(named)
}
