//! Reader for NumPy's `.npz` archives: a zip file of `.npy` arrays.

use std::io::{Cursor, Read};

use zip::ZipArchive;
use zip::result::ZipError;

use super::DataError;
use super::npy::NpyArray;

/// An opened archive.
#[derive(Debug)]
pub struct NpzArchive<'a> {
    name: String,
    zip: ZipArchive<Cursor<&'a [u8]>>,
    limit: u64,
}

impl<'a> NpzArchive<'a> {
    /// Opens an archive held in memory. `name` is used in errors; `limit` is the most bytes that one
    /// array may take once decompressed.
    ///
    /// # Errors
    /// [`DataError::Foreign`] when the bytes are no zip file or its directory is cut off.
    pub fn open(name: &str, bytes: &'a [u8], limit: u64) -> Result<NpzArchive<'a>, DataError> {
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(|error| DataError::Foreign {
            what: name.into(),
            expected: "a NumPy archive (.npz)",
            reason: error.to_string(),
        })?;
        Ok(NpzArchive {
            name: name.into(),
            zip,
            limit,
        })
    }

    /// Reads the array called `array` (without the `.npy` ending). The archive's checksum is verified.
    ///
    /// # Errors
    /// [`DataError::Missing`], [`DataError::TooLarge`], [`DataError::Foreign`] for damaged
    /// compression, or what [`NpyArray::parse`] reports.
    pub fn array(&mut self, array: &str) -> Result<NpyArray, DataError> {
        let what = format!("{}/{array}", self.name);
        let file = format!("{array}.npy");
        let damaged = |reason: String| DataError::Foreign {
            what: what.clone(),
            expected: "an intact array",
            reason,
        };
        let entry = self.zip.by_name(&file).map_err(|error| match error {
            ZipError::FileNotFound => DataError::Missing {
                what: what.clone(),
                looked_for: file.clone(),
            },
            other => damaged(other.to_string()),
        })?;
        // the announced size may lie, so the stream itself is limited
        let mut bytes = Vec::new();
        let mut limited = entry.take(self.limit.saturating_add(1));
        limited
            .read_to_end(&mut bytes)
            .map_err(|error| damaged(error.to_string()))?;
        if bytes.len() as u64 > self.limit {
            let announced = bytes.len() as u64;
            return Err(DataError::TooLarge {
                what,
                announced,
                limit: self.limit,
            });
        }
        NpyArray::parse(&what, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in entries {
            writer
                .start_file(*name, SimpleFileOptions::default())
                .unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn zeros(count: usize) -> Vec<u8> {
        let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({count},), }}");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + count, 0);
        bytes
    }

    #[test]
    fn arrays_are_found_by_name() {
        let bytes = archive(&[("a.npy", &zeros(3)), ("b.npy", &zeros(5))]);
        let mut npz = NpzArchive::open("x", &bytes, 1 << 20).unwrap();
        assert_eq!(npz.array("b").unwrap().shape, [5]);
        assert!(matches!(npz.array("c"), Err(DataError::Missing { .. })));
    }

    #[test]
    fn a_truncated_archive_is_a_typed_error() {
        let bytes = archive(&[("a.npy", &zeros(300))]);
        for cut in 1..bytes.len() {
            if let Ok(mut npz) = NpzArchive::open("x", &bytes[..bytes.len() - cut], 1 << 20) {
                assert!(npz.array("a").is_err());
            }
        }
    }

    #[test]
    fn an_array_over_the_limit_is_refused() {
        // a million zeros compress to about a kilobyte
        let bytes = archive(&[("a.npy", &zeros(1_000_000))]);
        assert!(bytes.len() < 10_000);
        let mut npz = NpzArchive::open("x", &bytes, 65_536).unwrap();
        assert!(matches!(
            npz.array("a"),
            Err(DataError::TooLarge { limit: 65_536, .. })
        ));
    }

    #[test]
    fn changed_bytes_never_pass_as_the_same_array() {
        let bytes = archive(&[("a.npy", &zeros(64))]);
        let original = NpzArchive::open("x", &bytes, 1 << 20)
            .unwrap()
            .array("a")
            .unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x40;
            if let Ok(array) =
                NpzArchive::open("x", &changed, 1 << 20).and_then(|mut npz| npz.array("a"))
            {
                assert_eq!(
                    array, original,
                    "byte {at} changed the array without an error"
                );
            }
        }
    }
}
