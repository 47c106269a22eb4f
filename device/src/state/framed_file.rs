//! Files in which a device keeps its state: the frame that all kinds share.
//!
//! A file is a magic text of 16 bytes, its content, and the SHA-256 of all before. All numbers are little
//! endian. It is named by a digest of what it belongs to, readable by its owner only, written beside its
//! place, synced and renamed into it, and the folder is synced.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Bytes of a magic text.
pub(crate) const MAGIC: usize = 16;
const CHECKSUM: usize = 32;
/// What is wrong with a file whose content is shorter than it says.
const SHORT: &str = "it ends early";

/// What a file holds, or what is wrong with it.
pub(crate) type Checked<T> = Result<T, &'static str>;

/// Where the file of a run or monitor lies.
pub(crate) fn place(folder: &Path, id: &str, extension: &str) -> PathBuf {
    let name = hex::encode(&Sha256::digest(id)[..16]);
    folder.join(format!("{name}.{extension}"))
}

/// All files of a kind in a folder, in no order.
pub(crate) fn all(folder: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    Ok(files)
}

/// The bytes of a file of at most `longest`; `None` when there is none.
pub(crate) fn read(path: &Path, longest: u64) -> io::Result<Option<Checked<Vec<u8>>>> {
    let read = fs::metadata(path).and_then(|about| match about.len() > longest {
        true => Ok(Err("it is too long")),
        false => fs::read(path).map(Ok),
    });
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Adds the checksum of all that a file holds.
pub(crate) fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&checksum);
    bytes
}

/// Adds a text or other bytes with their length (u32).
pub(crate) fn put_text(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
    bytes.extend_from_slice(text);
}

/// The content of a file, read from its beginning on.
pub(crate) struct Content<'a>(&'a [u8]);

impl<'a> Content<'a> {
    /// Checks checksum and magic.
    pub(crate) fn open(bytes: &'a [u8], magic: &[u8; MAGIC]) -> Checked<Self> {
        let length = bytes.len().checked_sub(CHECKSUM).ok_or(SHORT)?;
        let (content, checksum) = bytes.split_at(length);
        if Sha256::digest(content)[..] != *checksum {
            return Err("its checksum does not match");
        }
        let content = content.strip_prefix(magic);
        content.map(Self).ok_or("its first bytes are others")
    }

    /// The next `length` bytes.
    pub(crate) fn take(&mut self, length: usize) -> Checked<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Checked<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| SHORT)
    }

    pub(crate) fn u32(&mut self) -> Checked<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Checked<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// What [`put_text`] wrote.
    pub(crate) fn text(&mut self) -> Checked<&'a [u8]> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    /// Checks that nothing follows.
    pub(crate) fn end(self) -> Checked<()> {
        match self.0 {
            [] => Ok(()),
            _ => Err("it goes on behind its end"),
        }
    }
}

/// Puts `bytes` in the place of a file, readable by its owner only: written beside it, synced and
/// renamed into it, and the folder synced, so that a crash at any moment leaves the old file or the
/// new one, and the new one once this returned.
pub(crate) fn replace_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    write_private(&temporary, bytes)?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        // only there can folders be opened and synced
        Some(folder) if cfg!(unix) => fs::File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
