//! Streams that are open at once: so many over all connections, and of them so many that only watch.
//!
//! HTTP/2 bounds the streams of each connection; this bounds what all of them together make the coordinator
//! do. The last part is for connections that have few.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use crate::error::CoordinatorError;
use crate::server::listener::connection::Connection;

/// One part in so many is for connections with at most [`FEW`] streams.
const KEPT_PARTS: usize = 8;
const FEW: usize = 8;
/// One part in so many may be streams that only watch, which anybody may open for as long as it likes.
const WATCHING_PARTS: usize = 32;
/// When to try again, in milliseconds.
const RETRY_MS: u64 = 2_000;

/// The places of streams.
#[derive(Debug)]
pub(in crate::server) struct Streams {
    most: usize,
    open: AtomicUsize,
    watching: AtomicUsize,
}

/// One open stream, until it is dropped.
#[derive(Debug)]
pub(in crate::server) struct Open {
    streams: Arc<Streams>,
    connection: Arc<Connection>,
    watches: bool,
}

impl Streams {
    pub(in crate::server) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            open: AtomicUsize::new(0),
            watching: AtomicUsize::new(0),
        })
    }

    /// A place for a stream of a connection; `watches` says that it only watches.
    ///
    /// # Errors
    /// That it must come again, when there is none.
    pub(in crate::server) fn open(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        watches: bool,
    ) -> Result<Open, CoordinatorError> {
        let of_connection = connection.streams.fetch_add(1, Ordering::Relaxed);
        let open = self.open.fetch_add(1, Ordering::Relaxed);
        let watching = self.watching.fetch_add(watches.into(), Ordering::Relaxed);
        // gives all of it back where it is refused
        let place = Open {
            streams: self.clone(),
            connection: connection.clone(),
            watches,
        };
        let kept = match of_connection {
            ..FEW => 0,
            _ => self.most / KEPT_PARTS,
        };
        let what = match () {
            () if open >= self.most - kept => "too many streams are open",
            () if watches && watching >= self.most.div_ceil(WATCHING_PARTS) => {
                "too many streams watch"
            }
            () => return Ok(place),
        };
        Err(CoordinatorError::Busy {
            what,
            retry_after_ms: RETRY_MS,
        })
    }

    #[cfg(test)]
    fn counts(&self) -> [usize; 2] {
        [&self.open, &self.watching].map(|count| count.load(Ordering::Relaxed))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let less = |count: &AtomicUsize, by| count.fetch_sub(by, Ordering::Relaxed);
        less(&self.connection.streams, 1);
        less(&self.streams.open, 1);
        less(&self.streams.watching, self.watches.into());
    }
}

/// An answer that holds its stream's place until it is taken or given up.
pub(in crate::server) struct Placed {
    inner: Body,
    _open: Open,
}

impl Placed {
    pub(in crate::server) fn new(inner: Body, open: Open) -> Self {
        Self { inner, _open: open }
    }
}

impl http_body::Body for Placed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn connection() -> Arc<Connection> {
        Connection::new(CancellationToken::new())
    }

    #[test]
    fn streams_are_bounded_over_all_connections_and_the_last_are_for_those_that_have_few() {
        let streams = Streams::new(160);
        let (greedy, modest) = (connection(), connection());
        let held: Vec<_> = (0..200)
            .map_while(|_| streams.open(&greedy, false).ok())
            .collect();
        assert_eq!(held.len(), 140);
        let few: Vec<_> = (0..FEW)
            .map(|_| streams.open(&modest, false).unwrap())
            .collect();
        assert!(streams.open(&modest, false).is_err());
        let many: Vec<_> = (0..200)
            .map_while(|_| streams.open(&connection(), false).ok())
            .collect();
        assert_eq!(many.len(), 12);
        drop((held, few, many));
        assert_eq!(streams.counts(), [0, 0]);
        assert_eq!(greedy.streams.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn few_of_them_only_watch() {
        let streams = Streams::new(160);
        let connection = connection();
        let held: Vec<_> = (0..9)
            .map_while(|_| streams.open(&connection, true).ok())
            .collect();
        assert_eq!(held.len(), 5);
        let refused = streams.open(&connection, true).unwrap_err();
        assert!(refused.to_string().contains("watch"), "{refused}");
        assert!(streams.open(&connection, false).is_ok());
        drop(held);
        assert_eq!(streams.counts(), [0, 0]);
    }
}
