//! How records and the store's own header are written, and which keys a scan covers.
//!
//! ```text
//! record   tag 2 | commit number, u64 | checksum, u128 | value
//! header   format, u32 | store id, 16 bytes | last commit, u64 | its chain digest, 32 bytes |
//!          commit before the last group, u64 | its chain digest, 32 bytes |
//!          sum of all checksums, u128 | number of tables, u32 | records of each, u64 |
//!          checksum of all this, u128
//! ```
//! All numbers are big-endian. The header is rewritten by every group of commits in the same
//! transaction, so an open can tell whether all that was committed is there, and nothing else. The
//! tables are counted in the order of [`Table::ALL`], which only ever grows at its end.

use std::ops::Bound;

use crate::disk::checksum::{self, ChainDigest, Checksum};
use crate::{StoreError, Table, Versioned};

/// The format this program reads and writes. Format 1, without checksums and anchor, is upgraded
/// when it is opened; any other is refused.
pub const SCHEMA_VERSION: u32 = 2;

/// First byte of every record; changes with its layout.
const RECORD_TAG: u8 = 2;
const RECORD_PREFIX: usize = 1 + 8 + 16;

/// The 16 random bytes that tell one store from another.
pub(crate) type StoreId = [u8; 16];

/// Draws a new one.
///
/// # Errors
/// When the system's random source fails.
pub(crate) fn new_store_id() -> Result<StoreId, StoreError> {
    let mut id = StoreId::default();
    getrandom::fill(&mut id).map_err(|error| StoreError::Io {
        during: "naming the store",
        kind: std::io::ErrorKind::Other,
        message: error.to_string(),
    })?;
    Ok(id)
}

/// The bytes of a record, and its checksum.
pub(crate) fn encode_record(
    table: Table,
    key: &[u8],
    version: u64,
    value: &[u8],
) -> (Vec<u8>, Checksum) {
    let checksum = checksum::of_record(table, key, version, value);
    let mut bytes = Vec::with_capacity(RECORD_PREFIX + value.len());
    bytes.push(RECORD_TAG);
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(&checksum.to_be_bytes());
    bytes.extend_from_slice(value);
    (bytes, checksum)
}

/// A record that was read and checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredRecord<'b> {
    /// Number of the commit that put it.
    pub(crate) version: u64,
    /// Its checksum.
    pub(crate) checksum: Checksum,
    /// What was put.
    pub(crate) value: &'b [u8],
}

impl StoredRecord<'_> {
    pub(crate) fn to_versioned(self) -> Versioned {
        Versioned {
            version: self.version,
            value: self.value.to_vec(),
        }
    }
}

/// A record, or `None` if the bytes are not the record that was put at this key.
pub(crate) fn decode_record<'b>(
    table: Table,
    key: &[u8],
    bytes: &'b [u8],
) -> Option<StoredRecord<'b>> {
    let (tag, rest) = bytes.split_first()?;
    let (version, rest) = rest.split_first_chunk::<8>()?;
    let (stated, value) = rest.split_first_chunk::<16>()?;
    let version = u64::from_be_bytes(*version);
    let checksum = checksum::of_record(table, key, version, value);
    let is_whole = *tag == RECORD_TAG && checksum == Checksum::from_be_bytes(*stated);
    is_whole.then_some(StoredRecord {
        version,
        checksum,
        value,
    })
}

/// A point in the history of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// Number of the last commit; 0 before the first.
    pub(crate) commit: u64,
    /// The chain over all batches up to it.
    pub(crate) chain: ChainDigest,
}

impl Position {
    /// Before the first commit of a store.
    pub(crate) fn start_of(store: &StoreId) -> Self {
        Self {
            commit: 0,
            chain: checksum::genesis(store),
        }
    }
}

/// What the store knows about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Which store this is.
    pub(crate) store: StoreId,
    /// After the last commit.
    pub(crate) at: Position,
    /// Before the group of commits that wrote this header.
    pub(crate) before: Position,
    /// Sum of the checksums of all records, modulo 2^128.
    pub(crate) contents: Checksum,
    /// Records of each table, by [`Table::index`].
    pub(crate) records: [u64; Table::ALL.len()],
}

const HEADER_PURPOSE: &[u8] = b"tributary-store-header";

impl Header {
    /// The header of a store without records.
    pub(crate) fn new(store: StoreId) -> Self {
        let start = Position::start_of(&store);
        Self {
            store,
            at: start,
            before: start,
            contents: 0,
            records: [0; Table::ALL.len()],
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = SCHEMA_VERSION.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.store);
        for position in [&self.at, &self.before] {
            bytes.extend_from_slice(&position.commit.to_be_bytes());
            bytes.extend_from_slice(&position.chain);
        }
        bytes.extend_from_slice(&self.contents.to_be_bytes());
        bytes.extend_from_slice(&(Table::ALL.len() as u32).to_be_bytes());
        for count in self.records {
            bytes.extend_from_slice(&count.to_be_bytes());
        }
        let checksum = checksum::of_bytes(HEADER_PURPOSE, &bytes);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// The header, or `None` if the bytes are not one that [`Header::encode`] made. Tables that
    /// were added since have no records.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, stated) = bytes.split_last_chunk::<16>()?;
        if checksum::of_bytes(HEADER_PURPOSE, body) != Checksum::from_be_bytes(*stated) {
            return None;
        }
        let mut reader = Reader(body);
        if u32::from_be_bytes(reader.take()?) != SCHEMA_VERSION {
            return None;
        }
        let store = reader.take()?;
        let at = reader.position()?;
        let before = reader.position()?;
        let contents = Checksum::from_be_bytes(reader.take()?);
        let tables = u32::from_be_bytes(reader.take()?) as usize;
        let mut records = [0; Table::ALL.len()];
        for count in records.get_mut(..tables)? {
            *count = u64::from_be_bytes(reader.take()?);
        }
        reader.0.is_empty().then_some(Self {
            store,
            at,
            before,
            contents,
            records,
        })
    }
}

/// Reads fields of fixed size one after the other.
struct Reader<'b>(&'b [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn position(&mut self) -> Option<Position> {
        Some(Position {
            commit: u64::from_be_bytes(self.take()?),
            chain: self.take()?,
        })
    }
}

/// First and last key of a range.
pub(crate) type Limits = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The keys that start with `prefix` and sort after `after`; `None` if there can be none.
pub(crate) fn key_range(prefix: &[u8], after: Option<&[u8]>) -> Option<Limits> {
    let end = prefix_end(prefix);
    let from = match after {
        Some(after) if after >= prefix => Bound::Excluded(after.to_vec()),
        _ => Bound::Included(prefix.to_vec()),
    };
    if let (Bound::Excluded(from), Some(end)) = (&from, &end)
        && from >= end
    {
        return None;
    }
    Some((from, end.map_or(Bound::Unbounded, Bound::Excluded)))
}

/// The first key after all keys that start with `prefix`; `None` if there is none.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != 0xFF)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_any_other_bytes_are_refused() {
        let mut header = Header::new([3; 16]);
        header.at.commit = 77;
        header.contents = u128::MAX - 5;
        header.records[3] = 5;
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Some(header));
        for length in 0..bytes.len() {
            assert_eq!(Header::decode(&bytes[..length]), None);
        }
        assert_eq!(Header::decode(&[bytes.as_slice(), &[0]].concat()), None);
        for position in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[position] ^= 0x10;
            assert_eq!(Header::decode(&flipped), None, "byte {position}");
        }
    }

    #[test]
    fn a_header_of_a_program_with_fewer_tables_reads_back() {
        let header = Header::new([3; 16]);
        let full = header.encode();
        let counts = 8 * Table::ALL.len();
        let counted = full.len() - 16 - counts - 4;
        let mut fewer = full[..counted].to_vec();
        fewer.extend_from_slice(&2_u32.to_be_bytes());
        fewer.extend_from_slice(&[0; 16]);
        let checksum = checksum::of_bytes(HEADER_PURPOSE, &fewer);
        fewer.extend_from_slice(&checksum.to_be_bytes());
        assert_eq!(Header::decode(&fewer), Some(header));
    }

    #[test]
    fn a_record_reads_back_at_its_own_key_only_and_any_flipped_byte_is_found() {
        let (bytes, checksum) = encode_record(Table::Runs, b"k", 9, b"abc");
        let expected = StoredRecord {
            version: 9,
            checksum,
            value: b"abc",
        };
        assert_eq!(decode_record(Table::Runs, b"k", &bytes), Some(expected));
        assert_eq!(decode_record(Table::Runs, b"l", &bytes), None);
        assert_eq!(decode_record(Table::Models, b"k", &bytes), None);
        for position in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[position] ^= 1 << bit;
                assert_eq!(decode_record(Table::Runs, b"k", &flipped), None);
            }
            assert_eq!(decode_record(Table::Runs, b"k", &bytes[..position]), None);
        }
    }

    #[test]
    fn the_end_of_a_prefix_of_ones_is_the_end_of_the_table() {
        assert_eq!(prefix_end(b"a\xFF\xFF"), Some(b"b".to_vec()));
        assert_eq!(prefix_end(b"\xFF"), None);
        assert_eq!(prefix_end(b""), None);
        assert_eq!(key_range(b"a", Some(b"b")), None);
    }
}
