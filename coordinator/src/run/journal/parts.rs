//! What a run remembers of its devices and rounds, on disk in parts.
//!
//! A round changes what is known of its own devices only, so a snapshot writes these alone, as a new
//! part; the parts before it stay. A part is merged with the one before it as long as that one is less
//! than twice as large, so there are few of them and each entry is written O(log n) times in all. The
//! newest part has the last word.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tributary_model::Digest;
use tributary_proto::{DeviceId, RunId};

use super::damaged::damaged;
use crate::CoordinatorError;
use crate::core::Core;
use crate::engine::{Participation, RoundRecord, RunState};

/// A part on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRecord {
    /// Its blob.
    pub blob: Digest,
    /// Its length in bytes.
    pub bytes: u64,
}

/// The content of a part. It names the run, so that no two runs share a blob.
#[derive(Debug, Serialize, Deserialize)]
pub struct Part {
    run: RunId,
    participations: BTreeMap<DeviceId, Participation>,
    history: Vec<RoundRecord>,
}

impl Part {
    /// What changed: of `devices`, and the rounds after the first `recorded`.
    pub fn of<'a>(
        state: &RunState,
        devices: impl Iterator<Item = &'a DeviceId>,
        recorded: usize,
    ) -> Self {
        let known = |device: &DeviceId| {
            let past = state.participations.get(device)?;
            Some((device.clone(), *past))
        };
        Self {
            run: state.id.clone(),
            participations: devices.filter_map(known).collect(),
            history: state.history.get(recorded..).unwrap_or_default().to_vec(),
        }
    }

    /// Adds it to a state that has the parts before it.
    pub fn add_to(self, state: &mut RunState) {
        state.participations.extend(self.participations);
        state.history.extend(self.history);
    }

    /// Reads one.
    ///
    /// # Errors
    /// When its blob is missing or damaged.
    pub async fn read(core: &Core, record: &PartRecord) -> Result<Self, CoordinatorError> {
        let bytes = core.vault.get(&record.blob).await?;
        serde_json::from_slice(&bytes).map_err(damaged)
    }

    /// Puts what is older below it.
    fn merge_below(&mut self, older: Self) {
        let newer = std::mem::replace(&mut self.participations, older.participations);
        self.participations.extend(newer);
        let newer = std::mem::replace(&mut self.history, older.history);
        self.history.extend(newer);
    }
}

/// The parts after `part` was added to `parts`: it is written, merged with those before it that are
/// not at least twice as large.
///
/// # Errors
/// When a blob can't be read or written; `parts` are then still what is on disk.
pub async fn with_part(
    core: &Core,
    parts: &[PartRecord],
    mut part: Part,
) -> Result<Vec<PartRecord>, CoordinatorError> {
    let mut parts = parts.to_vec();
    if part.participations.is_empty() && part.history.is_empty() {
        return Ok(parts);
    }
    let mut bytes = serde_json::to_vec(&part).map_err(damaged)?;
    while let Some(last) = parts.pop_if(|last| last.bytes < 2 * bytes.len() as u64) {
        part.merge_below(Part::read(core, &last).await?);
        bytes = serde_json::to_vec(&part).map_err(damaged)?;
    }
    let length = bytes.len() as u64;
    let blob = core.vault.put(bytes).await?;
    parts.push(PartRecord {
        blob,
        bytes: length,
    });
    Ok(parts)
}
