//! What a power cut leaves of a recorded series of writes.
//!
//! What was synced is there. Of the rest any part may be: nothing, all, what came first, or a mixture
//! in which single sectors of a write are missing. Names are apart from contents: a file that was
//! synced has its bytes, but its name lasts only once its folder was synced, and a rename that lasted
//! says nothing about the bytes.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rand_chacha::ChaCha8Rng;
use rand_core::Rng as _;

use super::Outcome;

/// What a disk writes whole or not at all, bytes.
const SECTOR: usize = 512;

/// One record of the preload library; its file lists the kinds.
#[derive(Clone, Debug)]
pub struct Record {
    /// The kind.
    pub kind: u8,
    /// Inode of the file.
    pub inode: u64,
    /// Offset of a write, or length of a truncation.
    pub number: u64,
    /// Bytes of a write, or paths.
    pub payload: Vec<u8>,
}

/// Reads a record file; what a kill cut off at its end is left out.
///
/// # Errors
/// When it can't be read.
pub fn read_records(path: &Path) -> Outcome<Vec<Record>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.read_to_end(&mut bytes)?;
    let mut rest = bytes.as_slice();
    let mut records = Vec::new();
    while let Some((record, after)) = read_record(rest) {
        records.push(record);
        rest = after;
    }
    Ok(records)
}

fn read_record(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let (&kind, rest) = bytes.split_first()?;
    let (inode, rest) = rest.split_first_chunk::<8>()?;
    let (number, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_ne_bytes(*length) as usize;
    let (payload, rest) = rest.split_at_checked(length)?;
    let record = Record {
        kind,
        inode: u64::from_ne_bytes(*inode),
        number: u64::from_ne_bytes(*number),
        payload: payload.to_vec(),
    };
    Some((record, rest))
}

/// How much of what was not synced is there after a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// Nothing of it.
    Nothing,
    /// All of it.
    Everything,
    /// What came first, the last of it torn.
    Prefix,
    /// Any part of it, with torn writes.
    Mixture,
}

impl Leaves {
    /// One of them.
    pub fn choose(random: &mut ChaCha8Rng) -> Self {
        match random.next_u64() % 8 {
            0 | 1 => Self::Nothing,
            2 => Self::Everything,
            3 | 4 => Self::Prefix,
            _ => Self::Mixture,
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, data) => {
                let end = at + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*at..end].copy_from_slice(data);
            }
            Self::Truncate(length) => bytes.resize(*length, 0),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Content {
    synced: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Naming {
    Create(PathBuf, usize),
    Folder(PathBuf),
    Rename(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl Naming {
    fn is_in(&self, folder: &Path) -> bool {
        let inside = |path: &Path| path.parent() == Some(folder);
        match self {
            Self::Create(path, _) | Self::Folder(path) | Self::Remove(path) => inside(path),
            Self::Rename(from, to) | Self::Link(from, to) => inside(from) || inside(to),
        }
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Self::Create(path, content) => {
                names.insert(path.clone(), Some(*content));
            }
            Self::Folder(path) => {
                names.insert(path.clone(), None);
            }
            Self::Rename(from, to) => {
                // an earlier step may be lost: then there is nothing to rename
                if let Some(content) = names.remove(from) {
                    names.insert(to.clone(), content);
                }
            }
            Self::Link(from, to) => {
                if let Some(&content) = names.get(from) {
                    names.insert(to.clone(), content);
                }
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

/// Paths below the root: a file's content, or none for a folder.
type Names = BTreeMap<PathBuf, Option<usize>>;

/// A folder as the disk knows it while records come in.
#[derive(Debug, Default)]
pub struct Disk {
    contents: Vec<Content>,
    by_inode: BTreeMap<u64, usize>,
    names: Names,
    /// In order, with whether it was synced.
    namings: Vec<(Naming, bool)>,
}

impl Disk {
    /// A disk on which all that is in `root` now is synced.
    ///
    /// # Errors
    /// When a file can't be read.
    pub fn holding(root: &Path) -> Outcome<Self> {
        let mut disk = Self::default();
        let mut folders = vec![PathBuf::new()];
        while let Some(inner) = folders.pop() {
            for entry in fs::read_dir(root.join(&inner))? {
                let entry = entry?;
                let path = inner.join(entry.file_name());
                if entry.file_type()?.is_dir() {
                    disk.names.insert(path.clone(), None);
                    folders.push(path);
                    continue;
                }
                let content = disk.add(entry.metadata()?.ino());
                disk.contents[content].synced = fs::read(entry.path())?;
                disk.names.insert(path, Some(content));
            }
        }
        Ok(disk)
    }

    fn add(&mut self, inode: u64) -> usize {
        self.contents.push(Content::default());
        let content = self.contents.len() - 1;
        self.by_inode.insert(inode, content);
        content
    }

    /// Takes the next record in; marks are passed over.
    ///
    /// # Errors
    /// When it names a file that is not known: then the record has a hole.
    pub fn take(&mut self, record: &Record) -> Outcome<()> {
        let text = String::from_utf8_lossy(&record.payload).into_owned();
        let both = |text: &str| {
            let (from, to) = text.split_once('\0').unwrap_or((text, ""));
            (PathBuf::from(from), PathBuf::from(to))
        };
        match record.kind {
            b'C' => {
                let content = self.add(record.inode);
                self.name(Naming::Create(text.into(), content));
            }
            b'D' => self.name(Naming::Folder(text.into())),
            b'U' | b'X' => self.name(Naming::Remove(text.into())),
            b'R' => {
                let (from, to) = both(&text);
                self.name(Naming::Rename(from, to));
            }
            b'L' => {
                let (from, to) = both(&text);
                self.name(Naming::Link(from, to));
            }
            b'W' => {
                let change = Change::Write(record.number as usize, record.payload.clone());
                self.content(record)?.pending.push(change);
            }
            b'T' => {
                let change = Change::Truncate(record.number as usize);
                self.content(record)?.pending.push(change);
            }
            b'S' => {
                let length = record.number as usize;
                let content = self.content(record)?;
                sync(content);
                content.synced.resize(length, 0);
            }
            b'F' => {
                let folder = PathBuf::from(text);
                for (naming, synced) in &mut self.namings {
                    *synced |= naming.is_in(&folder);
                }
            }
            b'G' => {
                self.contents.iter_mut().for_each(sync);
                self.namings
                    .iter_mut()
                    .for_each(|(_, synced)| *synced = true);
            }
            _ => {}
        }
        Ok(())
    }

    fn name(&mut self, naming: Naming) {
        self.namings.push((naming, false));
    }

    fn content(&mut self, record: &Record) -> Outcome<&mut Content> {
        let known = self.by_inode.get(&record.inode);
        let unknown = || std::io::Error::other(format!("the record has a hole before {record:?}"));
        let content = *known.ok_or_else(unknown)?;
        Ok(&mut self.contents[content])
    }

    /// Writes what is there after a cut into `root`, which is emptied first.
    ///
    /// # Errors
    /// When a file can't be written.
    pub fn cut(&self, root: &Path, leaves: Leaves, random: &mut ChaCha8Rng) -> Outcome<()> {
        if root.exists() {
            fs::remove_dir_all(root)?;
        }
        fs::create_dir_all(root)?;
        for (path, content) in self.names_after(leaves, random) {
            let path = root.join(path);
            match content {
                None => fs::create_dir_all(path)?,
                // a file whose folder is lost is lost with it
                Some(_) if !path.parent().is_some_and(Path::is_dir) => {}
                Some(content) => fs::write(path, self.contents[content].after(leaves, random))?,
            }
        }
        Ok(())
    }

    fn names_after(&self, leaves: Leaves, random: &mut ChaCha8Rng) -> Names {
        let mut names = self.names.clone();
        let pending = self.namings.iter().filter(|(_, synced)| !synced).count() as u64;
        let mut first = random.next_u64() % (pending + 1);
        for (naming, synced) in &self.namings {
            let kept = *synced
                || match leaves {
                    Leaves::Nothing => false,
                    Leaves::Everything => true,
                    Leaves::Prefix => {
                        let is_first = first > 0;
                        first = first.saturating_sub(1);
                        is_first
                    }
                    Leaves::Mixture => random.next_u64().is_multiple_of(2),
                };
            if kept {
                naming.apply(&mut names);
            }
        }
        names
    }
}

fn sync(content: &mut Content) {
    for change in content.pending.drain(..) {
        change.apply(&mut content.synced);
    }
}

impl Content {
    fn after(&self, leaves: Leaves, random: &mut ChaCha8Rng) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        let first = random.next_u64() as usize % (self.pending.len() + 1);
        for (number, change) in self.pending.iter().enumerate() {
            match leaves {
                Leaves::Nothing => {}
                Leaves::Everything => change.apply(&mut bytes),
                Leaves::Prefix if number < first => change.apply(&mut bytes),
                Leaves::Prefix if number == first => tear(change, &mut bytes, true, random),
                Leaves::Prefix => {}
                Leaves::Mixture => match random.next_u64() % 3 {
                    0 => {}
                    1 => change.apply(&mut bytes),
                    _ => tear(change, &mut bytes, false, random),
                },
            }
        }
        bytes
    }
}

/// Applies some sectors of a write: the first ones, or any.
fn tear(change: &Change, bytes: &mut Vec<u8>, from_start: bool, random: &mut ChaCha8Rng) {
    let Change::Write(at, data) = change else {
        return;
    };
    let mut start = 0;
    while start < data.len() {
        let end = ((at + start) / SECTOR + 1) * SECTOR - at;
        let end = end.min(data.len());
        let kept = random.next_u64().is_multiple_of(2);
        if kept {
            Change::Write(at + start, data[start..end].to_vec()).apply(bytes);
        } else if from_start {
            return;
        }
        start = end;
    }
}
