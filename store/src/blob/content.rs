//! The content-addressed store.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use tokio::runtime::Handle;
use tributary_model::DigestBuilder;

use super::{BlobError, Digest, local};

/// Most bytes of a blob: the f32 weights, or the i64 sums, of the largest model, with room to spare.
pub const MAX_BLOB_BYTES: u64 = 1 << 30;

/// From this size on, digests are computed beside the async threads (about half a millisecond).
const LARGE_BYTES: usize = 256 * 1024;

/// Bytes of one part of a blob that is written in pieces; S3 wants 5 MiB or more.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// Where blobs lie in an object store.
pub(super) const FOLDER: &str = "blobs";

/// Takes one piece of a blob.
pub type Sink<'s> = dyn FnMut(&[u8]) -> Result<(), BlobError> + 's;

/// Something that can write its bytes piece by piece, the same each time.
pub trait Source: Send + 'static {
    /// Writes all pieces in order; ends with the first error of `sink`.
    ///
    /// # Errors
    /// That error.
    fn write_to(&self, sink: &mut Sink<'_>) -> Result<(), BlobError>;
}

impl<S: Source + Sync> Source for Arc<S> {
    fn write_to(&self, sink: &mut Sink<'_>) -> Result<(), BlobError> {
        S::write_to(self, sink)
    }
}

/// Blobs by digest. Clones share the storage.
#[derive(Clone)]
pub struct BlobStore {
    objects: Arc<dyn ObjectStore>,
    /// The folder `blobs`, when it is on the local disk.
    local: Option<Arc<FilePath>>,
}

impl BlobStore {
    /// Blobs on any object store, below `blobs/`.
    #[must_use]
    pub fn new(objects: Arc<dyn ObjectStore>) -> Self {
        Self {
            objects,
            local: None,
        }
    }

    /// Blobs on the local disk, in the folder `blobs`.
    pub(super) fn on_disk(objects: Arc<dyn ObjectStore>, blobs: Arc<FilePath>) -> Self {
        Self {
            objects,
            local: Some(blobs),
        }
    }

    /// The storage below.
    pub(super) fn objects(&self) -> &dyn ObjectStore {
        &*self.objects
    }

    /// Blobs in memory, for tests and simulations.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::new(Arc::new(InMemory::new()))
    }

    /// Stores `bytes` and returns their digest; they survive a power failure then. If they are stored
    /// already, nothing is written; a damaged blob of that digest is replaced.
    ///
    /// # Errors
    /// [`BlobError::TooLarge`], [`BlobError::Full`], [`BlobError::Io`]. Nothing is kept then.
    pub async fn put(&self, bytes: impl Into<Bytes>) -> Result<Digest, BlobError> {
        let bytes = bytes.into();
        let needed = bytes.len() as u64;
        if needed > MAX_BLOB_BYTES {
            return Err(BlobError::TooLarge {
                size: needed,
                limit: MAX_BLOB_BYTES,
            });
        }
        let digest = digest_of(bytes.clone()).await;
        if self.holds(&digest, needed).await? {
            // whoever wrote it may not have come to syncing it
            self.settle(digest, local::sync).await?;
            return Ok(digest);
        }
        self.objects
            .put(&path_of(&digest), bytes.into())
            .await
            .map_err(|error| BlobError::writing(needed, &error))?;
        self.settle(digest, local::make_private).await?;
        Ok(digest)
    }

    /// Stores what `source` writes and returns its digest with the source. As [`BlobStore::put`], but
    /// a large blob is never in memory as a whole: it is written twice, first to know its digest.
    ///
    /// # Errors
    /// As [`BlobStore::put`].
    pub async fn put_written<S: Source>(&self, source: S) -> Result<(Digest, S), BlobError> {
        let stopped = |_| BlobError::Io {
            during: "writing a blob",
            message: "the process is stopping".to_owned(),
        };
        let measured = tokio::task::spawn_blocking(move || {
            let (mut builder, mut size) = (DigestBuilder::new(), 0u64);
            let mut measure = |piece: &[u8]| {
                builder.update(piece);
                size += piece.len() as u64;
                Ok(())
            };
            let written = source.write_to(&mut measure);
            written.map(|()| (builder.finish(), size, source))
        });
        let (digest, size, source) = measured.await.map_err(stopped)??;
        if size > MAX_BLOB_BYTES {
            return Err(BlobError::TooLarge {
                size,
                limit: MAX_BLOB_BYTES,
            });
        }
        let path = path_of(&digest);
        let writing = move |error: object_store::Error| BlobError::writing(size, &error);
        let upload = self.objects.put_multipart(&path).await.map_err(writing)?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let runtime = Handle::current();
        let written = tokio::task::spawn_blocking(move || {
            let mut write = |piece: &[u8]| {
                // one part at a time: a slow disk must not fill the memory
                let free = runtime.block_on(writer.wait_for_capacity(1));
                free.map_err(writing)?;
                writer.write(piece);
                Ok(())
            };
            let written = source.write_to(&mut write);
            written.map(|()| (writer, source))
        });
        let (writer, source) = written.await.map_err(stopped)??;
        writer.finish().await.map_err(writing)?;
        self.settle(digest, local::make_private).await?;
        Ok((digest, source))
    }

    /// The bytes of `digest`, checked.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], [`BlobError::Corrupt`], [`BlobError::TooLarge`] if the stored object
    /// is larger than any blob, [`BlobError::Io`].
    pub async fn get(&self, digest: &Digest) -> Result<Bytes, BlobError> {
        let reading = |error: object_store::Error| BlobError::reading(*digest, &error);
        let object = self.objects.get(&path_of(digest)).await.map_err(reading)?;
        let size = object.meta.size;
        if size > MAX_BLOB_BYTES {
            return Err(BlobError::TooLarge {
                size,
                limit: MAX_BLOB_BYTES,
            });
        }
        let bytes = object.bytes().await.map_err(reading)?;
        let found = digest_of(bytes.clone()).await;
        if found != *digest {
            return Err(BlobError::Corrupt {
                digest: *digest,
                found,
                size: bytes.len() as u64,
            });
        }
        Ok(bytes)
    }

    /// Checks the bytes of `digest` piece by piece, without holding all of them.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], [`BlobError::Corrupt`], [`BlobError::Io`].
    pub async fn check(&self, digest: &Digest) -> Result<(), BlobError> {
        let size = self.size(digest).await?;
        let mut hash = DigestBuilder::new();
        let mut offset = 0;
        while offset < size {
            let length = (size - offset).min(PART_BYTES as u64);
            let part = self.get_range(digest, offset, length).await?;
            offset += length;
            let hashing = move || {
                hash.update(&part);
                hash
            };
            // fails only while the runtime shuts down
            let hashed = Handle::current().spawn_blocking(hashing).await;
            hash = hashed.map_err(|error| BlobError::Io {
                during: "reading a blob",
                message: error.to_string(),
            })?;
        }
        match hash.finish() {
            found if found == *digest => Ok(()),
            found => Err(BlobError::Corrupt {
                digest: *digest,
                found,
                size,
            }),
        }
    }

    /// `len` bytes from `offset`. A part can't be checked against the digest: whoever asks checks
    /// the whole.
    ///
    /// # Errors
    /// [`BlobError::OutOfRange`], [`BlobError::NotFound`], [`BlobError::Io`].
    pub async fn get_range(
        &self,
        digest: &Digest,
        offset: u64,
        len: u64,
    ) -> Result<Bytes, BlobError> {
        let size = self.size(digest).await?;
        let end =
            offset
                .checked_add(len)
                .filter(|&end| end <= size)
                .ok_or(BlobError::OutOfRange {
                    digest: *digest,
                    offset,
                    len,
                    size,
                })?;
        if len == 0 {
            return Ok(Bytes::new());
        }
        self.objects
            .get_range(&path_of(digest), offset..end)
            .await
            .map_err(|error| BlobError::reading(*digest, &error))
    }

    /// Bytes of the blob.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], [`BlobError::Io`].
    pub async fn size(&self, digest: &Digest) -> Result<u64, BlobError> {
        let object = self.objects.head(&path_of(digest)).await;
        object
            .map(|meta| meta.size)
            .map_err(|error| BlobError::reading(*digest, &error))
    }

    /// Whether there is a blob of this digest. Does not read it.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub async fn exists(&self, digest: &Digest) -> Result<bool, BlobError> {
        match self.size(digest).await {
            Ok(_) => Ok(true),
            Err(BlobError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes the blob; no error if there is none.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub async fn delete(&self, digest: &Digest) -> Result<(), BlobError> {
        match self.objects.delete(&path_of(digest)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(BlobError::Io {
                during: "deleting a blob",
                message: error.to_string(),
            }),
        }
    }

    /// Does something to the file of a blob that was just found or written, if it is a file.
    async fn settle(
        &self,
        digest: Digest,
        action: fn(&FilePath) -> io::Result<()>,
    ) -> Result<(), BlobError> {
        let Some(blobs) = &self.local else {
            return Ok(());
        };
        let file = file_of(blobs, &digest);
        let run = move || match action(&file) {
            // deleted meanwhile
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        };
        let done = match Handle::try_current() {
            // fails only while the runtime shuts down
            Ok(runtime) => runtime
                .spawn_blocking(run)
                .await
                .map_err(io::Error::other)
                .flatten(),
            Err(_) => run(),
        };
        done.map_err(|error| BlobError::Io {
            during: "writing a blob",
            message: error.to_string(),
        })
    }

    /// Whether exactly these bytes are stored.
    async fn holds(&self, digest: &Digest, size: u64) -> Result<bool, BlobError> {
        match self.size(digest).await {
            Ok(stored) if stored == size => {}
            Ok(_) | Err(BlobError::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
        match self.get(digest).await {
            Ok(_) => Ok(true),
            // deleted or found damaged meanwhile: writing it again is right
            Err(BlobError::NotFound { .. } | BlobError::Corrupt { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Debug for BlobStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "BlobStore({})", self.objects)
    }
}

fn path_of(digest: &Digest) -> Path {
    let digits = digest.to_string();
    let (shard, rest) = digits.split_at(2);
    Path::from_iter([FOLDER, shard, rest])
}

fn file_of(blobs: &FilePath, digest: &Digest) -> PathBuf {
    let digits = digest.to_string();
    let (shard, rest) = digits.split_at(2);
    blobs.join(shard).join(rest)
}

/// Digests large blobs on the blocking pool of the runtime, if there is one.
async fn digest_of(bytes: Bytes) -> Digest {
    if bytes.len() >= LARGE_BYTES
        && let Ok(runtime) = Handle::try_current()
    {
        let copy = bytes.clone();
        // fails only while the runtime shuts down
        if let Ok(digest) = runtime.spawn_blocking(move || Digest::of(&copy)).await {
            return digest;
        }
    }
    Digest::of(&bytes)
}
