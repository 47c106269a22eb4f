//! What calls know of the connection that they came over.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Most bytes of answers that one connection may leave waiting; the others have the rest.
pub(in crate::server) const SHARE: usize = 16 * 1024 * 1024;

/// One connection.
#[derive(Debug)]
pub(in crate::server) struct Connection {
    /// Never the same again.
    pub(in crate::server) number: u64,
    /// Its share of the bytes of answers that wait.
    pub(in crate::server) share: Arc<Semaphore>,
    /// Ends it.
    pub(in crate::server) cut: CancellationToken,
    /// Streams that it has open.
    pub(in crate::server) streams: AtomicUsize,
    unread: Mutex<Unread>,
}

/// Parts of answers that the other side has not taken.
#[derive(Debug, Default)]
struct Unread {
    next: u64,
    since: BTreeMap<u64, Instant>,
    is_watched: bool,
}

impl Connection {
    /// A connection that `cut` ends.
    pub(in crate::server) fn new(cut: CancellationToken) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            share: Arc::new(Semaphore::new(SHARE)),
            cut,
            streams: AtomicUsize::new(0),
            unread: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Unread> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A part of an answer waits from now on: its number, and whether somebody must begin to watch.
    pub(in crate::server) fn begin(&self) -> (u64, bool) {
        let mut unread = self.lock();
        unread.next += 1;
        let number = unread.next;
        unread.since.insert(number, Instant::now());
        let unwatched = !std::mem::replace(&mut unread.is_watched, true);
        (number, unwatched)
    }

    /// A part of an answer was taken.
    pub(in crate::server) fn end(&self, number: u64) {
        self.lock().since.remove(&number);
    }

    /// Since when the oldest part waits. With none, nobody watches any more.
    pub(in crate::server) fn oldest(&self) -> Option<Instant> {
        let mut unread = self.lock();
        let oldest = unread.since.first_key_value().map(|(_, since)| *since);
        unread.is_watched = oldest.is_some();
        oldest
    }
}
