//! The byte budget of answers that leave: what the other side has not taken yet.
//!
//! - A part of an answer is counted until HTTP/2 has written it. One connection has a share only.
//! - The next piece of a download waits for room before it is read; other answers are refused without.
//! - Who takes nothing for a time loses its connection: nothing less ends a stream whose window is shut. That
//!   time is shorter while others wait for room.
//! - A session is exempt: its outbox bounds it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body;

use crate::error::CoordinatorError;
use crate::server::grpc::PIECE;
use crate::server::listener::connection::Connection;
use crate::telemetry::Level;

/// Bytes around a piece of a download.
const SURROUNDING: usize = 64;
/// How often it is looked who takes nothing.
const GLANCE: Duration = Duration::from_millis(500);
/// When to try again, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// The budget.
#[derive(Debug, Clone)]
pub(in crate::server) struct Outgoing {
    total: usize,
    room: Arc<Semaphore>,
    level: Arc<Level>,
    patience: Duration,
}

/// What one part of an answer holds.
#[derive(Debug)]
struct Held {
    outgoing: Outgoing,
    connection: Arc<Connection>,
    bytes: usize,
    /// Of the connection's share, and of the room.
    permits: [OwnedSemaphorePermit; 2],
}

/// A part of an answer that waits to be written.
struct Part {
    data: Bytes,
    held: Held,
    number: u64,
}

type Waiting = Pin<Box<dyn Future<Output = Option<Held>> + Send>>;

impl Outgoing {
    /// Room for so many bytes, and how long one of them may wait.
    pub(in crate::server) fn new(total: usize, level: Arc<Level>, patience: Duration) -> Self {
        let total = total.clamp(PIECE + SURROUNDING, u32::MAX as usize);
        Self {
            total,
            room: Arc::new(Semaphore::new(total)),
            level,
            patience,
        }
    }

    fn show(&self) {
        self.level.set(self.total - self.room.available_permits());
    }

    fn try_hold(&self, connection: &Arc<Connection>, bytes: usize) -> Option<Held> {
        let wanted = u32::try_from(bytes).ok()?;
        let share = connection
            .share
            .clone()
            .try_acquire_many_owned(wanted)
            .ok()?;
        let room = self.room.clone().try_acquire_many_owned(wanted).ok()?;
        Some(self.held(connection.clone(), bytes, [share, room]))
    }

    async fn hold(self, connection: Arc<Connection>, bytes: usize) -> Option<Held> {
        let wanted = u32::try_from(bytes).ok()?;
        let share = connection
            .share
            .clone()
            .acquire_many_owned(wanted)
            .await
            .ok()?;
        let room = self.room.clone().acquire_many_owned(wanted).await.ok()?;
        Some(self.held(connection, bytes, [share, room]))
    }

    fn held(
        &self,
        connection: Arc<Connection>,
        bytes: usize,
        permits: [OwnedSemaphorePermit; 2],
    ) -> Held {
        self.show();
        Held {
            outgoing: self.clone(),
            connection,
            bytes,
            permits,
        }
    }

    /// Cuts the connection once it takes nothing for too long; ends when nothing waits.
    async fn watch(self, connection: Arc<Connection>) {
        let mut glances = tokio::time::interval(GLANCE.min(self.patience / 4));
        loop {
            glances.tick().await;
            let Some(oldest) = connection.oldest() else {
                return;
            };
            let is_full = self.room.available_permits() < PIECE + SURROUNDING;
            let patience = if is_full {
                self.patience / 6
            } else {
                self.patience
            };
            if oldest.elapsed() > patience {
                tracing::warn!(
                    connection = connection.number,
                    seconds = patience.as_secs(),
                    "a connection is closed whose other side does not take its answers"
                );
                connection.cut.cancel();
                return;
            }
        }
    }
}

impl Held {
    /// The bytes, counted until nobody holds them any more.
    fn attach(mut self, data: Bytes) -> Bytes {
        let excess = self.bytes.saturating_sub(data.len());
        for permits in &mut self.permits {
            drop(permits.split(excess));
        }
        self.outgoing.show();
        let (number, unwatched) = self.connection.begin();
        if unwatched {
            let watching = self.outgoing.clone().watch(self.connection.clone());
            tokio::spawn(watching);
        }
        Bytes::from_owner(Part {
            data,
            held: self,
            number,
        })
    }
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for permits in &mut self.permits {
            let all = permits.num_permits();
            drop(permits.split(all));
        }
        self.outgoing.show();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.held.connection.end(self.number);
    }
}

/// The body of an answer.
pub(in crate::server) struct Leaving {
    inner: Body,
    outgoing: Outgoing,
    connection: Arc<Connection>,
    /// A download: it may wait.
    is_patient: bool,
    waiting: Option<Waiting>,
    held: Option<Held>,
    failed: bool,
}

impl Leaving {
    /// An answer over a connection; a patient one waits for room.
    pub(in crate::server) fn new(
        inner: Body,
        outgoing: Outgoing,
        connection: Arc<Connection>,
        is_patient: bool,
    ) -> Self {
        Self {
            inner,
            outgoing,
            connection,
            is_patient,
            waiting: None,
            held: None,
            failed: false,
        }
    }

    /// Waits for room for the next piece, before it is in memory.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.is_patient || self.held.is_some() {
            return Poll::Ready(());
        }
        let waiting = self.waiting.get_or_insert_with(|| {
            let hold = self.outgoing.clone();
            Box::pin(hold.hold(self.connection.clone(), PIECE + SURROUNDING))
        });
        self.held = ready!(waiting.as_mut().poll(context));
        self.waiting = None;
        Poll::Ready(())
    }

    /// The bytes with what they hold, or the refusal that ends the answer.
    fn counted(&mut self, data: Bytes) -> Frame<Bytes> {
        let reserved = self.held.take().filter(|held| held.bytes >= data.len());
        let held = reserved.or_else(|| self.outgoing.try_hold(&self.connection, data.len()));
        match held {
            Some(held) => Frame::data(held.attach(data)),
            None => {
                self.failed = true;
                let (parts, _) = Status::from(busy()).into_http::<Body>().into_parts();
                Frame::trailers(parts.headers)
            }
        }
    }
}

/// The refusal of an answer for which there is no room.
fn busy() -> CoordinatorError {
    CoordinatorError::Busy {
        what: "too many answers wait for those who asked to take them",
        retry_after_ms: RETRY_MS,
    }
}

impl http_body::Body for Leaving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.failed {
            return Poll::Ready(None);
        }
        ready!(self.poll_room(context));
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other),
        };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(data) => self.counted(data),
            Err(other) => other,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.failed || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
