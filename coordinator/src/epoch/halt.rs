//! The state in which nothing is assigned, charged or released.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::Witness;
use crate::CoordinatorError;
use crate::store::{Batch, Expect, REPAIR_KEY, RepairNote, Store, Table};

/// Where the reason is kept.
const KEY: &[u8] = b"halted";

/// What a device has proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaltRecord {
    /// The newest epoch that was seen.
    pub epoch: u64,
    /// The run or monitor.
    pub subject: String,
    /// Its round, window or calibration.
    pub number: u64,
    /// The attempt at the round; 0 for windows and calibrations.
    pub attempt: u32,
    /// Whether an update was counted, which the folder does not know.
    pub counted: bool,
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
}

impl HaltRecord {
    /// What a witness proves.
    pub fn new(witness: &Witness, unix_ms: u64) -> Self {
        Self {
            epoch: witness.epoch,
            subject: witness.subject.clone(),
            number: witness.place.number,
            attempt: witness.place.attempt,
            counted: witness.counted.is_some(),
            unix_ms,
        }
    }

    /// The state as a sentence with the remedy.
    pub fn sentence(&self) -> String {
        let what = match (self.attempt, self.counted) {
            (0, _) => format!("was asked in number {}", self.number),
            (attempt, true) => format!("was counted in round {}, attempt {attempt}", self.number),
            (attempt, false) => format!("answered round {}, attempt {attempt}", self.number),
        };
        format!(
            "stopped: this data folder is older than what devices have seen (a device proves that it \
             {what}, of {}, which the folder does not know): nothing is assigned, charged or released; \
             stop the coordinator and run `tributary restore --data DIR`, or put the newest copy of \
             the folder in its place",
            self.subject
        )
    }
}

/// Whether the coordinator is halted, and why.
#[derive(Default)]
pub struct Halt {
    record: Mutex<Option<HaltRecord>>,
    /// What a repair of the store has lost.
    lost: Option<RepairNote>,
}

impl Halt {
    /// Reads what was noted.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn open(store: &dyn Store) -> Result<Arc<Self>, CoordinatorError> {
        let record = store.get(Table::Meta, KEY)?;
        let record = record.map(|record| record.json()).transpose()?;
        let lost = store.get(Table::Meta, REPAIR_KEY)?;
        let lost = lost.map(|note| note.json()).transpose()?;
        Ok(Arc::new(Self {
            record: Mutex::new(record),
            lost,
        }))
    }

    /// What halted the coordinator, if it is halted.
    pub fn record(&self) -> Option<HaltRecord> {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.clone()
    }

    /// Why the coordinator is halted, if it is.
    pub fn reason(&self) -> Option<String> {
        let proved = self.record().map(|record| record.sentence());
        proved.or_else(|| self.lost.as_ref().map(lost_sentence))
    }

    /// True when nothing may be assigned, charged or released.
    pub fn is_halted(&self) -> bool {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.is_some() || self.lost.is_some()
    }

    /// Halts, from now on and after a restart; true the first time. Of later proofs the newest epoch
    /// alone is kept.
    ///
    /// # Errors
    /// When the store refuses; the coordinator is halted all the same.
    pub async fn halt(
        &self,
        store: &dyn Store,
        proof: HaltRecord,
    ) -> Result<bool, CoordinatorError> {
        let (record, first) = {
            let mut known = self.record.lock().unwrap_or_else(PoisonError::into_inner);
            let first = known.is_none();
            let record = known.get_or_insert_with(|| proof.clone());
            if !first && proof.epoch <= record.epoch {
                return Ok(false);
            }
            record.epoch = proof.epoch.max(record.epoch);
            (record.clone(), first)
        };
        let mut batch = Batch::new();
        batch.put_json(Table::Meta, KEY, &record, Expect::Any)?;
        store.commit(batch).await?;
        Ok(first)
    }

    /// Adds to a batch that the folder is in order again.
    pub fn end(batch: &mut Batch) {
        batch.delete(Table::Meta, KEY, Expect::Any);
        batch.delete(Table::Meta, REPAIR_KEY, Expect::Any);
    }
}

fn lost_sentence(note: &RepairNote) -> String {
    format!(
        "stopped: the metadata store was repaired and has lost records ({}), so the ledger may hold less \
         than was spent: nothing is assigned, charged or released; stop the coordinator and run \
         `tributary restore --data DIR`",
        note.lost.join("; ")
    )
}
