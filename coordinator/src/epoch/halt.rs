//! The state in which nothing is assigned, charged or released.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::unfinished::Unfinished;
use super::{CALIBRATION, FIRST_CALIBRATION, Witness};
use crate::CoordinatorError;
use crate::commit_then::commit_then;
use tributary_store::{Batch, Expect, REPAIR_KEY, RepairNote, Store, Table};

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
        format!(
            "stopped: this data folder is older than what devices have seen (a device proves that it \
             {}, which the folder does not know): nothing is assigned, charged or released; \
             stop the coordinator and run `tributary restore --data DIR`, or put the newest copy of \
             the folder in its place",
            self.proof()
        )
    }

    /// What the device did, in words.
    fn proof(&self) -> String {
        let (subject, number) = (&self.subject, self.number);
        if let Some(monitor) = subject.strip_suffix(CALIBRATION) {
            let number = number.saturating_sub(FIRST_CALIBRATION);
            return format!("was asked in calibration {number} of monitor {monitor}");
        }
        match (self.attempt, self.counted) {
            (0, _) => format!("was asked in window {number} of monitor {subject}"),
            (attempt, true) => {
                format!("was counted in round {number}, attempt {attempt}, of run {subject}")
            }
            (attempt, false) => {
                format!("answered round {number}, attempt {attempt}, of run {subject}")
            }
        }
    }
}

/// A proof, and whether it is on disk.
struct Known {
    record: HaltRecord,
    is_noted: bool,
}

/// Whether the coordinator is halted, and why.
#[derive(Default)]
pub struct Halt {
    record: Mutex<Option<Known>>,
    /// What a repair of the store has lost.
    lost: Option<RepairNote>,
    /// A restore that was cut off.
    unfinished: Option<Unfinished>,
}

impl Halt {
    /// Reads what was noted.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn open(store: &dyn Store) -> Result<Arc<Self>, CoordinatorError> {
        let record = store.get(Table::Meta, KEY)?;
        let record = record.map(|record| record.json()).transpose()?;
        let known = record.map(|record| Known {
            record,
            is_noted: true,
        });
        let lost = store.get(Table::Meta, REPAIR_KEY)?;
        let lost = lost.map(|note| note.json()).transpose()?;
        Ok(Arc::new(Self {
            record: Mutex::new(known),
            lost,
            unfinished: Unfinished::read(store)?,
        }))
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What halted the coordinator, if it is halted.
    pub fn record(&self) -> Option<HaltRecord> {
        self.known().as_ref().map(|known| known.record.clone())
    }

    /// Why the coordinator is halted, if it is.
    pub fn reason(&self) -> Option<String> {
        let proved = self.record().map(|record| record.sentence());
        let proved = self.unfinished_restore().or(proved);
        proved.or_else(|| self.lost.as_ref().map(lost_sentence))
    }

    /// True when nothing may be assigned, charged or released.
    pub fn is_halted(&self) -> bool {
        self.known().is_some() || self.lost.is_some() || self.unfinished.is_some()
    }

    /// That a restore was cut off, in a sentence with the remedy; none when none was.
    pub fn unfinished_restore(&self) -> Option<String> {
        self.unfinished.as_ref().map(|_| Unfinished::sentence())
    }

    /// Halts, from now on and after a restart, even if the caller goes away; true the first time. Of later
    /// proofs the newest epoch alone is kept, and one that could not be noted is noted with the next.
    ///
    /// # Errors
    /// When the store refuses; the coordinator is halted all the same.
    pub async fn halt(
        self: &Arc<Self>,
        store: &dyn Store,
        proof: HaltRecord,
    ) -> Result<bool, CoordinatorError> {
        let Some((record, first)) = self.take(proof) else {
            return Ok(false);
        };
        let mut batch = Batch::new();
        batch.put_json(Table::Meta, KEY, &record, Expect::Any)?;
        let halt = self.clone();
        let noted = move || {
            if let Some(known) = &mut *halt.known()
                && known.record == record
            {
                known.is_noted = true;
            }
        };
        commit_then("the note of a halt", store.commit(batch), noted).await?;
        Ok(first)
    }

    /// Takes a proof over. What is to be noted, and whether it is the first; nothing for one that adds
    /// nothing.
    fn take(&self, proof: HaltRecord) -> Option<(HaltRecord, bool)> {
        let mut known = self.known();
        let first = known.is_none();
        let known = known.get_or_insert_with(|| Known {
            record: proof.clone(),
            is_noted: false,
        });
        if known.is_noted && proof.epoch <= known.record.epoch {
            return None;
        }
        known.record.epoch = proof.epoch.max(known.record.epoch);
        known.is_noted = false;
        Some((known.record.clone(), first))
    }

    /// Adds to a batch that the folder is in order again.
    pub fn end(batch: &mut Batch) {
        batch.delete(Table::Meta, KEY, Expect::Any);
        batch.delete(Table::Meta, REPAIR_KEY, Expect::Any);
        Unfinished::end(batch);
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
