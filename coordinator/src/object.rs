//! What is known of blobs that are given out: which are in memory, which were checked.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tributary_model::Digest;

use tributary_store::blob::BlobError;

/// Objects kept in memory for download.
const HOT_OBJECTS: usize = 16;
/// Large objects of which it is kept when they were checked; of others it is done again.
const CHECKED: usize = 1_024;
/// A large object is not read as a whole more often: nobody can keep the disk busy by complaining.
const BETWEEN_CHECKS: Duration = Duration::from_secs(10);

/// What is known of objects that were asked for.
#[derive(Default)]
pub struct Objects {
    hot: Mutex<Vec<(Digest, Bytes)>>,
    checked: Mutex<BTreeMap<Digest, Checked>>,
    /// Held while an object is read, so that a fleet that asks for it reads it once.
    pub reading: tokio::sync::Mutex<()>,
    /// The same of a check, which takes longer.
    pub checking: tokio::sync::Mutex<()>,
}

/// A large object that was read as a whole.
#[derive(Debug, Clone)]
struct Checked {
    /// When a doubt was looked into; none before the first.
    looked: Option<Instant>,
    /// Somebody could not fetch it since.
    is_doubted: bool,
    /// What was found; none when it is whole.
    damage: Option<BlobError>,
}

impl Checked {
    fn is_due(&self, now: Instant) -> bool {
        let is_early = self.looked.is_some_and(|at| now < at + BETWEEN_CHECKS);
        (self.is_doubted || self.damage.is_some()) && !is_early
    }
}

/// An object that is being downloaded.
#[derive(Debug, Clone)]
pub enum OpenObject {
    /// Small: in memory.
    Whole(Bytes),
    /// Large: read piece by piece, so that a download holds one piece of it. Whoever downloads
    /// checks the whole against the digest.
    Stored {
        /// Its digest.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
    },
}

impl OpenObject {
    /// Length in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Stored { size, .. } => *size,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Objects {
    /// One that is in memory.
    pub fn hot(&self, digest: &Digest) -> Option<Bytes> {
        let hot = lock(&self.hot);
        let hit = hot.iter().find(|(known, _)| known == digest);
        hit.map(|(_, bytes)| bytes.clone())
    }

    /// Keeps one in memory, instead of the one that is there longest.
    pub fn keep(&self, digest: Digest, bytes: &Bytes) {
        let mut hot = lock(&self.hot);
        if hot.len() >= HOT_OBJECTS {
            hot.remove(0);
        }
        hot.push((digest, bytes.clone()));
    }

    /// What a check found that still holds; none when one is due.
    pub fn known(&self, digest: &Digest) -> Option<Result<(), BlobError>> {
        let checked = lock(&self.checked);
        let known = checked.get(digest)?;
        if known.is_due(Instant::now()) {
            return None;
        }
        Some(known.damage.clone().map_or(Ok(()), Err))
    }

    /// Notes what a check found.
    pub fn note(&self, digest: Digest, damage: Option<BlobError>) {
        let mut checked = lock(&self.checked);
        let again = checked.contains_key(&digest) || damage.is_some();
        while checked.len() >= CHECKED && !checked.contains_key(&digest) {
            checked.pop_first();
        }
        let found = Checked {
            looked: again.then(Instant::now),
            is_doubted: false,
            damage,
        };
        checked.insert(digest, found);
    }

    /// Somebody could not fetch one of these.
    pub fn doubt(&self, objects: impl IntoIterator<Item = Digest>) {
        let mut checked = lock(&self.checked);
        for digest in objects {
            if let Some(known) = checked.get_mut(&digest) {
                known.is_doubted = true;
            }
        }
    }

    /// As if every check had been long ago.
    #[cfg(test)]
    pub fn age(&self, digest: &Digest) {
        if let Some(known) = lock(&self.checked).get_mut(digest) {
            known.looked = None;
        }
    }

    /// Forgets one that is deleted.
    pub fn forget(&self, digest: &Digest) {
        lock(&self.hot).retain(|(known, _)| known != digest);
        lock(&self.checked).remove(digest);
    }
}
