//! The file `FORMAT`: which layout a store's folder has, and which engine holds it.
//!
//! ```text
//! tributary-store 2
//! engine redb
//! state ready
//! check 5f0c...   first 16 bytes of the SHA-256 of the lines above
//! ```
//! Format 1 was one line, always on sled.

use std::fs;
use std::io;
use std::path::Path;

use crate::EngineKind;
use crate::StoreError;
use crate::disk::checksum;
use crate::disk::files;
use crate::disk::schema::SCHEMA_VERSION;

/// The file that says what was acknowledged last.
pub(crate) const ANCHOR: &str = "anchor";
pub(crate) const FORMAT: &str = "FORMAT";
pub(crate) const NEW_FORMAT: &str = "FORMAT.new";
const MAGIC: &str = "tributary-store ";
const PURPOSE: &[u8] = b"tributary-format";
/// A format file is a few lines; a longer one is not ours.
const MAX_BYTES: u64 = 256;

/// What a folder says it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Nothing.
    Absent,
    /// A store of format 1: sled, without checksums and without an anchor.
    First,
    /// A store that was being made when its process ended: it never held a record.
    Unfinished(EngineKind),
    /// A store.
    Ready(EngineKind),
}

impl Format {
    /// Reads the format of a folder.
    pub(crate) fn read(folder: &Path) -> Result<Self, StoreError> {
        let file = folder.join(FORMAT);
        let reading =
            |error: io::Error| StoreError::from_io("reading the format of the folder", &error);
        let foreign = || {
            if is_store(folder) {
                let detail = format!("its file {FORMAT:?} was changed");
                return StoreError::corrupt(folder, detail);
            }
            StoreError::Foreign {
                folder: folder.to_owned(),
                found: FORMAT.to_owned(),
            }
        };
        files::must_be_file(&file).map_err(reading)?;
        match fs::metadata(&file) {
            Ok(metadata) if metadata.len() > MAX_BYTES => return Err(foreign()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::Absent),
            Err(error) => return Err(reading(error)),
        }
        let text = String::from_utf8(fs::read(&file).map_err(reading)?).map_err(|_| foreign())?;
        let (version, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let version: Option<u32> = version
            .strip_prefix(MAGIC)
            .and_then(|version| version.parse().ok());
        match version {
            Some(1) if rest.is_empty() => Ok(Self::First),
            Some(SCHEMA_VERSION) => Self::parse(&text).ok_or_else(foreign),
            Some(found) if found > SCHEMA_VERSION => Err(StoreError::OtherVersion {
                folder: folder.to_owned(),
                found,
                supported: SCHEMA_VERSION,
            }),
            _ => Err(foreign()),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        EngineKind::ALL.into_iter().find_map(|engine| {
            [Self::Ready(engine), Self::Unfinished(engine)]
                .into_iter()
                .find(|format| format.text().as_deref() == Some(text))
        })
    }

    /// What the file says; `None` for formats that are not written any more.
    fn text(self) -> Option<String> {
        let (engine, state) = match self {
            Self::Absent | Self::First => return None,
            Self::Unfinished(engine) => (engine, "unfinished"),
            Self::Ready(engine) => (engine, "ready"),
        };
        let lines = format!("{MAGIC}{SCHEMA_VERSION}\nengine {engine}\nstate {state}\n");
        let check = checksum::of_bytes(PURPOSE, lines.as_bytes());
        Some(format!("{lines}check {check:032x}\n"))
    }

    /// Writes it; the old or the new one is on the disk whatever happens.
    pub(crate) fn write(self, folder: &Path) -> Result<(), StoreError> {
        let text = self.text().unwrap_or_default();
        files::replace_file(folder, FORMAT, text.as_bytes())
            .map_err(|error| StoreError::from_io("writing the format of the folder", &error))
    }
}

/// Whether the folder holds what a store writes beside its format.
pub(crate) fn is_store(folder: &Path) -> bool {
    let databases = EngineKind::ALL.into_iter().map(EngineKind::folder);
    databases
        .chain([ANCHOR])
        .any(|name| folder.join(name).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_reads_back_and_one_changed_byte_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for engine in EngineKind::ALL {
            for format in [Format::Ready(engine), Format::Unfinished(engine)] {
                format.write(folder.path()).unwrap();
                assert_eq!(Format::read(folder.path()), Ok(format));
                let file = folder.path().join(FORMAT);
                let whole = fs::read(&file).unwrap();
                for at in 0..whole.len() {
                    for bit in 0..8 {
                        let mut bytes = whole.clone();
                        bytes[at] ^= 1 << bit;
                        fs::write(&file, bytes).unwrap();
                        assert!(Format::read(folder.path()).is_err(), "byte {at}, bit {bit}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_changed_format_beside_a_store_is_damage_and_not_another_program_s_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join(FORMAT),
            "tributary-store 2\nengine rodb\n",
        )
        .unwrap();
        let foreign = Format::read(folder.path()).unwrap_err();
        assert!(matches!(foreign, StoreError::Foreign { .. }), "{foreign}");
        fs::write(folder.path().join(ANCHOR), "anything").unwrap();
        let damaged = Format::read(folder.path()).unwrap_err();
        assert_eq!(damaged.code(), "TRB-0501");
        let text = damaged.to_string();
        assert!(
            text.contains("FORMAT") && text.contains("store repair"),
            "{text}"
        );
    }

    #[test]
    fn an_old_format_is_known() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Format::read(folder.path()), Ok(Format::Absent));
        fs::write(folder.path().join(FORMAT), "tributary-store 1\n").unwrap();
        assert_eq!(Format::read(folder.path()), Ok(Format::First));
    }
}
