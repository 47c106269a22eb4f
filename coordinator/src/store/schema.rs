//! How records and the store's own header are written, and which keys a scan covers.
//!
//! ```text
//! record   tag 1 | commit number, u64 | value
//! header   format, u32 | last commit number, u64 | records of each table, 12 x u64
//! ```
//! All numbers are big-endian. The header is rewritten by every commit in the same transaction, so
//! an open can tell whether all that was committed is still there.

use std::ops::Bound;

use super::{Table, Versioned};

/// The format this program reads and writes. Another format is refused when a folder is opened.
pub const SCHEMA_VERSION: u32 = 1;

/// First byte of every record; changes with its layout.
const RECORD_TAG: u8 = 1;
const RECORD_PREFIX: usize = 1 + 8;

/// The bytes of a record.
pub(super) fn encode_record(version: u64, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(RECORD_PREFIX + value.len());
    bytes.push(RECORD_TAG);
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(value);
    bytes
}

/// The version of a record, or `None` if the bytes are not one.
pub(super) fn record_version(bytes: &[u8]) -> Option<u64> {
    let (tag, rest) = bytes.split_first()?;
    let (version, _) = rest.split_first_chunk::<8>()?;
    (*tag == RECORD_TAG).then(|| u64::from_be_bytes(*version))
}

/// A record, or `None` if the bytes are not one.
pub(super) fn decode_record(bytes: &[u8]) -> Option<Versioned> {
    let version = record_version(bytes)?;
    Some(Versioned {
        version,
        value: bytes[RECORD_PREFIX..].to_vec(),
    })
}

/// What the store knows about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Format of the folder.
    pub(super) format: u32,
    /// Number of the last commit; 0 before the first.
    pub(super) last_commit: u64,
    /// Records of each table, by [`Table::index`].
    pub(super) records: [u64; Table::ALL.len()],
}

impl Header {
    pub(super) const fn new() -> Self {
        Self {
            format: SCHEMA_VERSION,
            last_commit: 0,
            records: [0; Table::ALL.len()],
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.format.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.last_commit.to_be_bytes());
        for count in self.records {
            bytes.extend_from_slice(&count.to_be_bytes());
        }
        bytes
    }

    /// The format that the first bytes of a header name; later formats keep it there.
    pub(super) fn format_of(bytes: &[u8]) -> Option<u32> {
        bytes
            .first_chunk::<4>()
            .map(|format| u32::from_be_bytes(*format))
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let format = Self::format_of(bytes)?;
        let (numbers, rest) = bytes.get(4..)?.as_chunks::<8>();
        let (last_commit, counts) = numbers.split_first()?;
        if !rest.is_empty() || counts.len() != Table::ALL.len() {
            return None;
        }
        let mut records = [0; Table::ALL.len()];
        for (count, bytes) in records.iter_mut().zip(counts) {
            *count = u64::from_be_bytes(*bytes);
        }
        Some(Self {
            format,
            last_commit: u64::from_be_bytes(*last_commit),
            records,
        })
    }
}

type Limits = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The keys that start with `prefix` and sort after `after`; `None` if there can be none.
pub(super) fn key_range(prefix: &[u8], after: Option<&[u8]>) -> Option<Limits> {
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
    fn a_header_reads_back_and_any_other_length_is_refused() {
        let mut header = Header::new();
        header.last_commit = 77;
        header.records[3] = 5;
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Some(header));
        for length in 0..bytes.len() {
            assert_eq!(Header::decode(&bytes[..length]), None);
        }
        assert_eq!(Header::decode(&[bytes, vec![0]].concat()), None);
    }

    #[test]
    fn a_record_reads_back_and_foreign_bytes_are_refused() {
        let bytes = encode_record(9, b"abc");
        assert_eq!(
            decode_record(&bytes),
            Some(Versioned {
                version: 9,
                value: b"abc".to_vec()
            })
        );
        assert_eq!(decode_record(&bytes[..8]), None);
        assert_eq!(
            decode_record(&[vec![2], bytes[1..].to_vec()].concat()),
            None
        );
    }

    #[test]
    fn the_end_of_a_prefix_of_ones_is_the_end_of_the_table() {
        assert_eq!(prefix_end(b"a\xFF\xFF"), Some(b"b".to_vec()));
        assert_eq!(prefix_end(b"\xFF"), None);
        assert_eq!(prefix_end(b""), None);
        assert_eq!(key_range(b"a", Some(b"b")), None);
    }
}
