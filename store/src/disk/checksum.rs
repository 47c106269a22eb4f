//! Checksums of records and of all records together, and the chain over the batches.
//!
//! Everything here is SHA-256: a record's checksum is its first 16 bytes, so that damage is found
//! whatever its shape, and the sum of the checksums of all records, modulo 2^128, changes when any
//! record is lost, kept in an older version, or put under another key. The sum needs no order, so
//! a commit adds and subtracts the few records that it touches.

use sha2::{Digest as _, Sha256};

use crate::Table;

/// First 16 bytes of a SHA-256 digest, big-endian.
pub(crate) type Checksum = u128;

/// Digest of a chain: every batch of the store's history, in order.
pub(crate) type ChainDigest = [u8; 32];

/// The checksum of a record: of where it stands, which commit put it, and what it says.
pub(crate) fn of_record(table: Table, key: &[u8], version: u64, value: &[u8]) -> Checksum {
    let mut hash = Sha256::new();
    hash.update(b"tributary-record");
    update_place(&mut hash, table, key);
    hash.update(version.to_be_bytes());
    hash.update(value);
    first_half(hash.finalize().into())
}

/// The checksum of bytes that carry it beside them.
pub(crate) fn of_bytes(purpose: &[u8], bytes: &[u8]) -> Checksum {
    let mut hash = Sha256::new();
    hash.update(purpose);
    hash.update(bytes);
    first_half(hash.finalize().into())
}

/// The first link of a store's chain.
pub(crate) fn genesis(store: &[u8; 16]) -> ChainDigest {
    let mut hash = Sha256::new();
    hash.update(b"tributary-store-genesis");
    hash.update(store);
    hash.finalize().into()
}

/// The next link of a chain: hashes the link before it, the commit's number, and what the batch
/// wrote.
pub(crate) struct Link(Sha256);

impl Link {
    /// Starts the link of commit `number` after `before`.
    pub(crate) fn after(before: &ChainDigest, number: u64) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"tributary-batch");
        hash.update(before);
        hash.update(number.to_be_bytes());
        Self(hash)
    }

    /// Adds a record that was put (its checksum) or removed (`None`).
    pub(crate) fn add(&mut self, table: Table, key: &[u8], record: Option<Checksum>) {
        update_place(&mut self.0, table, key);
        self.0.update([u8::from(record.is_some())]);
        self.0.update(record.unwrap_or(0).to_be_bytes());
    }

    /// The finished link.
    pub(crate) fn finish(self) -> ChainDigest {
        self.0.finalize().into()
    }
}

fn update_place(hash: &mut Sha256, table: Table, key: &[u8]) {
    let name = table.name().as_bytes();
    // the lengths keep "ab" + "c" apart from "a" + "bc"
    hash.update((name.len() as u32).to_be_bytes());
    hash.update(name);
    hash.update((key.len() as u32).to_be_bytes());
    hash.update(key);
}

fn first_half(digest: [u8; 32]) -> Checksum {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_elsewhere_or_of_another_commit_has_another_checksum() {
        let sum = of_record(Table::Runs, b"ab", 7, b"cd");
        for other in [
            of_record(Table::Models, b"ab", 7, b"cd"),
            of_record(Table::Runs, b"abc", 7, b"d"),
            of_record(Table::Runs, b"ab", 8, b"cd"),
            of_record(Table::Runs, b"ab", 7, b"ce"),
        ] {
            assert_ne!(sum, other);
        }
    }

    #[test]
    fn a_link_depends_on_all_before_it_and_on_each_operation() {
        let link = |before: &ChainDigest, number, record| {
            let mut link = Link::after(before, number);
            link.add(Table::Runs, b"k", record);
            link.finish()
        };
        let start = genesis(&[1; 16]);
        let all = [
            link(&start, 1, Some(5)),
            link(&genesis(&[2; 16]), 1, Some(5)),
            link(&start, 2, Some(5)),
            link(&start, 1, Some(6)),
            link(&start, 1, None),
            link(&start, 1, Some(0)),
        ];
        for (position, one) in all.iter().enumerate() {
            assert!(!all[..position].contains(one));
        }
    }
}
