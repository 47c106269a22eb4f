//! What batch n of a writer writes, and the state after it.

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use tributary_store::Table;

/// Writers that commit at the same time, each in its own records.
pub const WRITERS: usize = 4;
/// Records that a writer changes again and again, spread over all tables.
const SLOTS: u64 = 48;
/// Most records of a batch beside the head.
const MOST: u64 = 8;

/// One writer of one series.
#[derive(Clone, Copy, Debug)]
pub struct Writer {
    /// Of the series.
    pub seed: u64,
    /// 0 to [`WRITERS`] - 1.
    pub number: usize,
}

/// A change of one slot; `bytes` is the length of its new value, or none when it is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which slot.
    pub slot: u64,
    /// Length of the value.
    pub bytes: Option<usize>,
    /// Whether the batch states the version that it expects there.
    pub compares: bool,
}

impl Writer {
    /// The record that holds the number of the writer's last batch.
    pub fn head(self) -> (Table, Vec<u8>) {
        (Table::Meta, format!("head/{}", self.number).into_bytes())
    }

    /// Where a slot lies.
    pub fn place(self, slot: u64) -> (Table, Vec<u8>) {
        let table = Table::ALL[slot as usize % Table::ALL.len()];
        (
            table,
            format!("slot/{}/{slot:02}", self.number).into_bytes(),
        )
    }

    /// All slots.
    pub fn slots() -> impl Iterator<Item = u64> {
        0..SLOTS
    }

    fn random(self, batch: u64, purpose: u8) -> ChaCha8Rng {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&batch.to_le_bytes());
        seed[16] = self.number as u8;
        seed[17] = purpose;
        ChaCha8Rng::from_seed(seed)
    }

    /// What batch `batch` (from 1) changes: one to eight slots, a fifth of them deleted.
    pub fn changes(self, batch: u64) -> Vec<Change> {
        let mut random = self.random(batch, 0);
        let mut taken = BTreeSet::new();
        let wanted = 1 + random.next_u64() % MOST;
        let mut changes = Vec::new();
        while (changes.len() as u64) < wanted {
            let slot = random.next_u64() % SLOTS;
            let (kind, compares) = (random.next_u64() % 100, random.next_u64().is_multiple_of(2));
            let length = match kind {
                0..20 => None,
                20..80 => Some(16 + random.next_u64() % 600),
                80..97 => Some(600 + random.next_u64() % 4_000),
                _ => Some(4_000 + random.next_u64() % 44_000),
            };
            if taken.insert(slot) {
                changes.push(Change {
                    slot,
                    bytes: length.map(|length| length as usize),
                    compares,
                });
            }
        }
        changes
    }

    /// The value that batch `batch` puts into a slot.
    pub fn value(self, batch: u64, slot: u64, bytes: usize) -> Vec<u8> {
        let mut value = vec![0; bytes];
        self.random(batch, 1 + slot as u8).fill_bytes(&mut value);
        value
    }

    /// The state after batch `batch`: for each slot that is filled, the batch that filled it and the
    /// length of its value.
    pub fn state(self, batch: u64) -> BTreeMap<u64, (u64, usize)> {
        let mut state = BTreeMap::new();
        for number in 1..=batch {
            for change in self.changes(number) {
                match change.bytes {
                    Some(bytes) => state.insert(change.slot, (number, bytes)),
                    None => state.remove(&change.slot),
                };
            }
        }
        state
    }
}

/// All writers of a series.
pub fn writers(seed: u64) -> impl Iterator<Item = Writer> {
    (0..WRITERS).map(move |number| Writer { seed, number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_the_same_whenever_it_is_asked_for_and_names_no_slot_twice() {
        let writer = Writer { seed: 3, number: 1 };
        for batch in 1..200 {
            let changes = writer.changes(batch);
            assert_eq!(changes, writer.changes(batch));
            let slots: BTreeSet<u64> = changes.iter().map(|change| change.slot).collect();
            assert_eq!(slots.len(), changes.len());
        }
        assert_ne!(writer.value(1, 2, 64), writer.value(2, 2, 64));
    }

    #[test]
    fn the_state_is_what_the_last_batch_left_in_each_slot() {
        let writer = Writer { seed: 3, number: 0 };
        let before = writer.state(99);
        let mut after = before.clone();
        for change in writer.changes(100) {
            match change.bytes {
                Some(bytes) => after.insert(change.slot, (100, bytes)),
                None => after.remove(&change.slot),
            };
        }
        assert_eq!(writer.state(100), after);
    }
}
