//! The blob store keeps its promises on a folder, in memory, and on storage that fails.

#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

mod support;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as ObjectResult,
};

use support::on_a_tiny_disk;
use tributary_store::blob::{BlobError, BlobStore, Digest};

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 31 % 251) as u8).collect()
}

fn file_of(folder: &FilePath, digest: &Digest) -> PathBuf {
    let digits = digest.to_string();
    folder.join("blobs").join(&digits[..2]).join(&digits[2..])
}

/// Every file below a folder.
fn files(folder: &FilePath) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn what_was_put_comes_back_under_the_digest_of_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    for blobs in [
        BlobStore::open(folder.path()).unwrap(),
        BlobStore::in_memory(),
    ] {
        for len in [0, 1, 1000, 600_000] {
            let content = bytes(len);
            let digest = blobs.put(content.clone()).await.unwrap();
            assert_eq!(digest, Digest::of(&content));
            assert_eq!(blobs.get(&digest).await.unwrap(), content);
            assert_eq!(blobs.size(&digest).await.unwrap(), len as u64);
            assert!(blobs.exists(&digest).await.unwrap());
            assert_eq!(
                blobs.put(content).await.unwrap(),
                digest,
                "a second put is the same blob"
            );
        }
    }
}

#[tokio::test]
async fn a_missing_blob_is_not_found_and_deleting_it_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    for blobs in [
        BlobStore::open(folder.path()).unwrap(),
        BlobStore::in_memory(),
    ] {
        let digest = Digest::of(b"never stored");
        let missing = BlobError::NotFound { digest };
        assert_eq!(blobs.get(&digest).await.unwrap_err(), missing);
        assert_eq!(blobs.size(&digest).await.unwrap_err(), missing);
        assert_eq!(blobs.get_range(&digest, 0, 1).await.unwrap_err(), missing);
        assert!(!blobs.exists(&digest).await.unwrap());
        blobs.delete(&digest).await.unwrap();

        let stored = blobs.put(&b"stored"[..]).await.unwrap();
        blobs.delete(&stored).await.unwrap();
        assert!(!blobs.exists(&stored).await.unwrap());
    }
}

#[tokio::test]
async fn a_range_is_exactly_the_bytes_asked_for_or_a_typed_error() {
    let folder = tempfile::tempdir().unwrap();
    for blobs in [
        BlobStore::open(folder.path()).unwrap(),
        BlobStore::in_memory(),
    ] {
        let content = bytes(1000);
        let digest = blobs.put(content.clone()).await.unwrap();
        for (offset, len) in [(0, 1000), (0, 1), (999, 1), (250, 500), (1000, 0), (0, 0)] {
            let part = blobs.get_range(&digest, offset, len).await.unwrap();
            assert_eq!(part, content[offset as usize..(offset + len) as usize]);
        }
        for (offset, len) in [(0, 1001), (1000, 1), (1001, 0), (u64::MAX, 2)] {
            let error = blobs.get_range(&digest, offset, len).await.unwrap_err();
            assert_eq!(
                error,
                BlobError::OutOfRange {
                    digest,
                    offset,
                    len,
                    size: 1000
                }
            );
        }
    }
}

#[tokio::test]
async fn a_damaged_blob_is_reported_and_healed_by_putting_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = BlobStore::open(folder.path()).unwrap();
    let content = bytes(5000);
    let digest = blobs.put(content.clone()).await.unwrap();
    let file = file_of(folder.path(), &digest);

    let mut flipped = content.clone();
    flipped[4321] ^= 1;
    for damaged in [&flipped[..], &content[..4999], &[]] {
        fs::write(&file, damaged).unwrap();
        let found = Digest::of(damaged);
        let size = damaged.len() as u64;
        let error = blobs.get(&digest).await.unwrap_err();
        assert_eq!(
            error,
            BlobError::Corrupt {
                digest,
                found,
                size
            }
        );

        assert_eq!(blobs.put(content.clone()).await.unwrap(), digest);
        assert_eq!(blobs.get(&digest).await.unwrap(), content);
    }
}

#[tokio::test]
async fn blobs_outlive_the_store_and_unfinished_files_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let digest = BlobStore::open(folder.path())
        .unwrap()
        .put(bytes(100))
        .await
        .unwrap();
    let unfinished = PathBuf::from(format!("{}#1", file_of(folder.path(), &digest).display()));
    fs::write(&unfinished, b"half").unwrap();
    let foreign = folder.path().join("blobs").join("note#1");
    fs::write(&foreign, b"not ours").unwrap();

    let blobs = BlobStore::open(folder.path()).unwrap();
    assert_eq!(blobs.get(&digest).await.unwrap(), bytes(100));
    assert!(!unfinished.exists());
    assert!(foreign.exists(), "only files of the blob store are removed");
}

#[tokio::test]
async fn concurrent_puts_of_the_same_bytes_all_succeed() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = BlobStore::open(folder.path()).unwrap();
    let puts = (0..16).map(|_| blobs.put(bytes(20_000)));
    for digest in futures::future::join_all(puts).await {
        assert_eq!(digest.unwrap(), Digest::of(&bytes(20_000)));
    }
    assert_eq!(files(folder.path()).len(), 1);
}

/// Memory that answers "no space left on device" while `full`.
#[derive(Debug, Default)]
struct FullDisk {
    inner: InMemory,
    full: AtomicBool,
}

impl fmt::Display for FullDisk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FullDisk")
    }
}

#[tonic::async_trait]
impl ObjectStore for FullDisk {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> ObjectResult<PutResult> {
        if self.full.load(Ordering::Relaxed) {
            let source = Box::new(io::Error::from_raw_os_error(28)); // ENOSPC
            return Err(object_store::Error::Generic {
                store: "FullDisk",
                source,
            });
        }
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> ObjectResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> ObjectResult<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, ObjectResult<Path>>,
    ) -> BoxStream<'static, ObjectResult<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, ObjectResult<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> ObjectResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> ObjectResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_full_disk_is_a_typed_error_and_the_store_works_once_there_is_room() {
    let disk = Arc::new(FullDisk::default());
    let blobs = BlobStore::new(disk.clone());
    disk.full.store(true, Ordering::Relaxed);
    let error = blobs.put(bytes(3000)).await.unwrap_err();
    assert_eq!(error, BlobError::Full { needed: 3000 });
    assert!(error.to_string().contains("free space"));
    assert!(!blobs.exists(&Digest::of(&bytes(3000))).await.unwrap());

    disk.full.store(false, Ordering::Relaxed);
    let digest = blobs.put(bytes(3000)).await.unwrap();
    assert_eq!(blobs.get(&digest).await.unwrap(), bytes(3000));
}

#[test]
fn a_disk_that_fills_while_a_blob_is_written_keeps_no_half_blob() {
    let test = "a_disk_that_fills_while_a_blob_is_written_keeps_no_half_blob";
    on_a_tiny_disk(test, 1, |disk| {
        let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
        runtime.block_on(fill_blobs(disk));
    });
}

async fn fill_blobs(disk: &FilePath) {
    let blobs = BlobStore::open(disk).unwrap();
    let small = blobs.put(bytes(100_000)).await.unwrap();

    let needed = 2 * 1024 * 1024;
    let error = blobs.put(bytes(needed)).await.unwrap_err();
    assert_eq!(
        error,
        BlobError::Full {
            needed: needed as u64
        }
    );
    assert_eq!(
        files(disk),
        [file_of(disk, &small)],
        "nothing half written stays"
    );

    let next = blobs.put(bytes(200_000)).await.unwrap();
    assert_eq!(blobs.get(&next).await.unwrap(), bytes(200_000));
    assert_eq!(blobs.get(&small).await.unwrap(), bytes(100_000));
}
