//! The commit protocol against a power cut at each of its steps: what was not synced is kept, torn
//! or forgotten at random, and at the next open every acknowledged batch is there, whole.

#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

mod support;

use std::io;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng as _;
use redb::StorageBackend;
use support::block_on;
use tributary_store::{
    AnchorFile, Batch, EmbeddedStore, Expect, RedbDisk, Store, StoreError, Table,
};

#[derive(Debug)]
enum Unsynced {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

/// Bytes on a disk that forgets what was not synced.
#[derive(Debug, Default)]
struct Medium {
    synced: Vec<u8>,
    current: Vec<u8>,
    unsynced: Vec<Unsynced>,
}

fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

impl Medium {
    /// What is left after a cut: of what was not synced each piece is there, torn, or not.
    fn cut(&mut self, random: &mut ChaCha8Rng) {
        let mut left = std::mem::take(&mut self.synced);
        for change in self.unsynced.drain(..) {
            match change {
                Unsynced::Write(offset, data) => {
                    // sectors of 512 bytes are written whole or not at all
                    for (sector, piece) in data.chunks(512).enumerate() {
                        if !random.next_u32().is_multiple_of(3) {
                            write(&mut left, offset + sector * 512, piece);
                        }
                    }
                }
                Unsynced::SetLen(len) if random.next_u32().is_multiple_of(2) => left.resize(len, 0),
                Unsynced::SetLen(_) => {}
            }
        }
        self.synced.clone_from(&left);
        self.current = left;
    }
}

/// Operations until the power goes; `None` when it stays.
type Fuse = Arc<Mutex<Option<u32>>>;

#[derive(Debug, Clone)]
struct Cut {
    medium: Arc<Mutex<Medium>>,
    fuse: Fuse,
}

impl Cut {
    fn step(&self) -> io::Result<()> {
        let mut fuse = self.fuse.lock().unwrap();
        match &mut *fuse {
            Some(0) => return Err(io::Error::other("the power is off")),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.step()?;
        let mut medium = self.medium.lock().unwrap();
        write(&mut medium.current, offset as usize, data);
        let change = Unsynced::Write(offset as usize, data.to_vec());
        medium.unsynced.push(change);
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.step()?;
        let medium = &mut *self.medium.lock().unwrap();
        medium.synced.clone_from(&medium.current);
        medium.unsynced.clear();
        Ok(())
    }
}

impl StorageBackend for Cut {
    fn len(&self) -> io::Result<u64> {
        Ok(self.medium.lock().unwrap().current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let medium = self.medium.lock().unwrap();
        let offset = offset as usize;
        let part = medium.current.get(offset..offset + out.len());
        out.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step()?;
        let mut medium = self.medium.lock().unwrap();
        medium.current.resize(len as usize, 0);
        medium.unsynced.push(Unsynced::SetLen(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_at(offset, data)
    }
}

impl AnchorFile for Cut {
    fn read(&self) -> io::Result<Vec<u8>> {
        Ok(self.medium.lock().unwrap().current.clone())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }
}

#[derive(Debug, Clone, Default)]
struct CutDisk {
    database: Arc<Mutex<Medium>>,
    anchor: Arc<Mutex<Medium>>,
    fuse: Fuse,
}

impl CutDisk {
    fn handle(&self, medium: &Arc<Mutex<Medium>>) -> Cut {
        Cut {
            medium: Arc::clone(medium),
            fuse: Arc::clone(&self.fuse),
        }
    }

    fn power_back(&self, random: &mut ChaCha8Rng) {
        self.database.lock().unwrap().cut(random);
        self.anchor.lock().unwrap().cut(random);
        *self.fuse.lock().unwrap() = None;
    }
}

impl RedbDisk for CutDisk {
    fn database(&self) -> io::Result<Arc<dyn StorageBackend>> {
        Ok(Arc::new(self.handle(&self.database)))
    }

    fn anchor(&self) -> io::Result<Box<dyn AnchorFile>> {
        Ok(Box::new(self.handle(&self.anchor)))
    }
}

fn batch(number: u64, random: &mut ChaCha8Rng) -> Batch {
    let mut batch = Batch::new();
    for table in [Table::Runs, Table::Ledger, Table::DeviceAccounts] {
        let value = vec![number as u8; 1 + random.next_u32() as usize % 6_000];
        batch.put(table, number.to_be_bytes(), value, Expect::Absent);
    }
    // and something that changes each time
    batch.put(Table::Meta, "last", number.to_be_bytes(), Expect::Any);
    batch
}

/// Commits until the power goes, or `most` batches; the numbers that were acknowledged are added.
fn commit_until_cut(
    disk: &CutDisk,
    most: u64,
    acknowledged: &mut Vec<u64>,
    random: &mut ChaCha8Rng,
) {
    let Ok(store) = EmbeddedStore::open_on(Arc::new(disk.clone())) else {
        return;
    };
    let first = 1 + newest(&store).unwrap_or(0);
    for number in first..first + most {
        if block_on(store.commit(batch(number, random))).is_err() {
            return;
        }
        acknowledged.push(number);
    }
}

fn newest(store: &EmbeddedStore) -> Result<u64, StoreError> {
    let last = store.get(Table::Meta, b"last")?;
    Ok(last.map_or(0, |record| {
        u64::from_be_bytes(record.value.try_into().unwrap())
    }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_power_cut_at_any_step_loses_nothing_that_was_acknowledged(
        seed in any::<u64>(),
        fuses in proptest::collection::vec(0_u32..160, 1..6),
    ) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let disk = CutDisk::default();
        let mut acknowledged = Vec::new();
        for fuse in fuses {
            *disk.fuse.lock().unwrap() = Some(fuse);
            commit_until_cut(&disk, 12, &mut acknowledged, &mut random);
            disk.power_back(&mut random);
            let store = EmbeddedStore::open_on(Arc::new(disk.clone())).unwrap();
            let newest = newest(&store).unwrap();
            for number in &acknowledged {
                for table in [Table::Runs, Table::Ledger, Table::DeviceAccounts] {
                    let stored = store.get(table, &number.to_be_bytes()).unwrap();
                    prop_assert!(stored.is_some(), "batch {} is lost from {}", number, table);
                }
            }
            // at most the group that was being written is there unacknowledged, and it is whole
            for table in [Table::Runs, Table::Ledger, Table::DeviceAccounts] {
                let count = (&store as &dyn Store).records(table, b"").count() as u64;
                prop_assert_eq!(count, newest, "a torn batch in {}", table);
            }
            prop_assert!(newest <= acknowledged.last().copied().unwrap_or(0) + 1);
            // a batch that got through unacknowledged counts as there from now on
            if newest > acknowledged.last().copied().unwrap_or(0) {
                acknowledged.push(newest);
            }
        }
    }
}

#[test]
fn an_engine_or_an_anchor_that_lies_about_syncing_is_refused() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let disk = CutDisk::default();
    let mut acknowledged = Vec::new();
    commit_until_cut(&disk, 4, &mut acknowledged, &mut random);
    let older = disk.database.lock().unwrap().synced.clone();
    commit_until_cut(&disk, 4, &mut acknowledged, &mut random);
    // the disk forgets what it said it had written
    disk.database.lock().unwrap().current = older;
    let error = EmbeddedStore::open_on(Arc::new(disk.clone())).unwrap_err();
    assert!(matches!(error, StoreError::Lost { .. }), "{error:?}");
    assert!(error.to_string().contains("commits 5 to 8"), "{error}");
}
