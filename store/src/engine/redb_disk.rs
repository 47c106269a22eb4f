//! Where the redb engine's bytes lie: a file, or a view of one that keeps what is written to itself.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use redb::StorageBackend;
use rustix::fs::FallocateFlags;

use crate::disk::anchor::AnchorFile;
use crate::disk::files::{self, LocalAnchor};

/// The two media of a store on redb. Tests record and cut them; the program uses files.
pub trait RedbDisk: Send + Sync + fmt::Debug + 'static {
    /// The database's bytes. Asked for at each open; earlier handles are closed by then.
    ///
    /// # Errors
    /// What the medium says.
    fn database(&self) -> io::Result<Arc<dyn StorageBackend>>;

    /// The anchor's bytes.
    ///
    /// # Errors
    /// What the medium says.
    fn anchor(&self) -> io::Result<Box<dyn AnchorFile>>;
}

/// Files in a folder.
#[derive(Debug)]
pub(crate) struct LocalDisk {
    /// Holds the database's file.
    pub(crate) folder: PathBuf,
    /// The anchor's file.
    pub(crate) anchor: PathBuf,
}

pub(super) const FILE: &str = "store.redb";

impl RedbDisk for LocalDisk {
    fn database(&self) -> io::Result<Arc<dyn StorageBackend>> {
        let path = self.folder.join(FILE);
        let is_new = !path.exists();
        files::private_folder(&self.folder)?;
        let file = files::private_file(&path)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    format!("{} is in use by another process: stop it", path.display()),
                ));
            }
            // some file systems of other machines lock nothing
            Err(TryLockError::Error(error)) => tracing::debug!(%error, "{FILE} can't be locked"),
            Ok(()) => {}
        }
        if is_new {
            file.sync_all()?;
            files::sync_folder(&self.folder)?;
        }
        Ok(Arc::new(LocalFile(file)))
    }

    fn anchor(&self) -> io::Result<Box<dyn AnchorFile>> {
        Ok(Box::new(LocalAnchor::new(self.anchor.clone())))
    }
}

/// A file with a lock of its own, beside that on the store's folder: it keeps other processes away for as
/// long as it is open.
#[derive(Debug)]
struct LocalFile(File);

impl StorageBackend for LocalFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    /// Growing claims the room at once, so that a full disk is met here and not while pages are
    /// written.
    fn set_len(&self, len: u64) -> io::Result<()> {
        if len > self.len()? {
            match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, len) {
                Ok(()) => return Ok(()),
                Err(rustix::io::Errno::OPNOTSUPP) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}

/// A shared backend, for `redb` which wants to own one.
#[derive(Debug, Clone)]
pub(crate) struct SharedBackend(pub(crate) Arc<dyn StorageBackend>);

impl StorageBackend for SharedBackend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

const BLOCK: usize = 4096;

/// A view that never changes what lies below: what is written stays in memory. Opening a database
/// through it repairs the view.
#[derive(Debug)]
pub(crate) struct Overlay {
    below: Arc<dyn StorageBackend>,
    own: RwLock<Own>,
}

#[derive(Debug)]
struct Own {
    len: u64,
    /// Up to here the bytes below still count.
    below_len: u64,
    blocks: BTreeMap<u64, Box<[u8; BLOCK]>>,
}

impl Overlay {
    pub(crate) fn over(below: Arc<dyn StorageBackend>) -> io::Result<Self> {
        let len = below.len()?;
        Ok(Self {
            below,
            own: RwLock::new(Own {
                len,
                below_len: len,
                blocks: BTreeMap::new(),
            }),
        })
    }

    fn block_below(&self, number: u64, below_len: u64) -> io::Result<Box<[u8; BLOCK]>> {
        let mut block = Box::new([0; BLOCK]);
        let start = number * BLOCK as u64;
        if start < below_len {
            let length = (below_len - start).min(BLOCK as u64) as usize;
            self.below.read(start, &mut block[..length])?;
        }
        Ok(block)
    }
}

/// The pieces of a range that lie in one block each: block, offset in it, offset in the range,
/// length.
fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let at = offset + done as u64;
        let inside = (at % BLOCK as u64) as usize;
        let piece = (BLOCK - inside).min(length - done);
        let item = (at / BLOCK as u64, inside, done, piece);
        done += piece;
        Some(item)
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.own.read().unwrap_or_else(PoisonError::into_inner).len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
        let end = offset.checked_add(out.len() as u64);
        if end.is_none_or(|end| end > own.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, inside, done, piece) in pieces(offset, out.len()) {
            let part = &mut out[done..done + piece];
            match own.blocks.get(&number) {
                Some(block) => part.copy_from_slice(&block[inside..inside + piece]),
                None => {
                    let block = self.block_below(number, own.below_len)?;
                    part.copy_from_slice(&block[inside..inside + piece]);
                }
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut own = self.own.write().unwrap_or_else(PoisonError::into_inner);
        if len < own.len {
            own.blocks.split_off(&len.div_ceil(BLOCK as u64));
            let below_len = own.below_len.min(len);
            own.below_len = below_len;
            let rest = (len % BLOCK as u64) as usize;
            if let Some(block) = own.blocks.get_mut(&(len / BLOCK as u64)) {
                block[rest..].fill(0);
            }
        }
        own.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut own = self.own.write().unwrap_or_else(PoisonError::into_inner);
        for (number, inside, done, piece) in pieces(offset, data.len()) {
            let mut block = match own.blocks.remove(&number) {
                Some(block) => block,
                None => self.block_below(number, own.below_len)?,
            };
            block[inside..inside + piece].copy_from_slice(&data[done..done + piece]);
            own.blocks.insert(number, block);
        }
        own.len = own.len.max(offset + data.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Write(u64, Vec<u8>),
        SetLen(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (
                0..20_000_u64,
                proptest::collection::vec(any::<u8>(), 1..9_000)
            )
                .prop_map(|(offset, data)| Step::Write(offset, data)),
            (0..30_000_u64).prop_map(Step::SetLen),
        ]
    }

    proptest! {
        #[test]
        fn an_overlay_reads_as_a_written_copy_and_leaves_what_lies_below(
            below in proptest::collection::vec(any::<u8>(), 0..20_000),
            steps in proptest::collection::vec(step(), 1..12),
        ) {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(&below, 0).unwrap();
            let file = Arc::new(LocalFile(file));
            let overlay = Overlay::over(file.clone()).unwrap();
            let mut model = below.clone();
            for step in steps {
                match step {
                    Step::Write(offset, data) => {
                        let end = offset as usize + data.len();
                        model.resize(model.len().max(end), 0);
                        model[offset as usize..end].copy_from_slice(&data);
                        overlay.write(offset, &data).unwrap();
                    }
                    Step::SetLen(len) => {
                        model.resize(len as usize, 0);
                        overlay.set_len(len).unwrap();
                    }
                }
                let mut read = vec![0; overlay.len().unwrap() as usize];
                overlay.read(0, &mut read).unwrap();
                prop_assert_eq!(&read, &model);
            }
            let mut untouched = vec![0; below.len()];
            prop_assert_eq!(file.len().unwrap(), below.len() as u64);
            file.read(0, &mut untouched).unwrap();
            prop_assert_eq!(untouched, below);
        }
    }
}
