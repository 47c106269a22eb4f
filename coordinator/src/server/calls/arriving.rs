//! A request's body that must arrive within its length, its time, and the bytes that there are for all.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::Status;
use tonic::body::Body;

use crate::error::CoordinatorError;
use crate::server::calls::framing::Framing;
use crate::server::calls::room::{NoRoom, Place, Room};

/// An import may begin slowly, and then sends at least so many bytes per second...
const GRACE: Duration = Duration::from_secs(5);
const LEAST_RATE: u64 = 256 * 1024;
/// ... and is over after this.
const LONGEST_IMPORT: Duration = Duration::from_secs(180);
/// How often that is looked at.
const GLANCE: Duration = Duration::from_secs(1);
/// How often it is looked for room, and how long, before the next chunk of an upload is read.
const CROWD_GLANCE: Duration = Duration::from_millis(20);
const LONGEST_CROWD: Duration = Duration::from_secs(1);
/// When to try again, in milliseconds.
const RETRY_MS: u64 = 500;

/// How much may come, and how fast it must.
#[derive(Debug, Clone, Copy)]
pub(in crate::server) struct Pace {
    most: u64,
    within: Duration,
    least_rate: u64,
}

impl Pace {
    /// At most `most` bytes, all of them within a time.
    pub(in crate::server) const fn whole_within(most: u64, within: Duration) -> Self {
        Self {
            most,
            within,
            least_rate: 0,
        }
    }

    /// At most `most` bytes at a least rate.
    pub(in crate::server) const fn of_import(most: u64) -> Self {
        Self {
            most,
            within: LONGEST_IMPORT,
            least_rate: LEAST_RATE,
        }
    }

    /// Whether the bytes so far are enough after so much time.
    fn is_kept(&self, received: u64, elapsed: Duration) -> bool {
        let counted = elapsed.saturating_sub(GRACE).as_secs();
        elapsed < self.within && received >= counted.saturating_mul(self.least_rate)
    }
}

/// A body with what bounds it.
pub(in crate::server) struct Arriving {
    inner: Body,
    clock: Option<Clock>,
    bytes: Counted,
    place: Arc<Place>,
    sent_away: Pin<Box<WaitForCancellationFutureOwned>>,
    received: u64,
    failed: bool,
}

/// When a body must have come.
struct Clock {
    pace: Pace,
    begun: Instant,
    glance: Pin<Box<Sleep>>,
}

/// What of a body holds room.
enum Counted {
    /// Nothing.
    Not,
    /// All of it, until it is worked off.
    Whole,
    /// The message under way.
    Messages {
        framing: Framing,
        /// Bytes of messages that hold room.
        held: usize,
        /// Waits while it is crowded, before a message begins.
        crowd: Option<Crowd>,
    },
}

/// How an upload waits before its next chunk.
#[derive(Default)]
struct Crowd {
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Crowd {
    /// Ready when there is room, or after a time: then what comes is refused, or sends others away.
    fn poll(&mut self, room: &Room, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let begun = self.waiting.as_ref().map(|(begun, _)| *begun);
            if !room.is_crowded() || begun.is_some_and(|begun| begun.elapsed() > LONGEST_CROWD) {
                self.waiting = None;
                return Poll::Ready(());
            }
            let (_, pause) = self.waiting.get_or_insert_with(|| {
                let pause = Box::pin(tokio::time::sleep(CROWD_GLANCE));
                (Instant::now(), pause)
            });
            ready!(pause.as_mut().poll(context));
            pause.as_mut().reset(Instant::now() + CROWD_GLANCE);
        }
    }
}

/// The refusal of a request for which there is no room.
pub(in crate::server) fn busy() -> CoordinatorError {
    CoordinatorError::Busy {
        what: "too many requests are on their way",
        retry_after_ms: RETRY_MS,
    }
}

impl Clock {
    fn new(pace: Pace) -> Self {
        let glance = if pace.least_rate == 0 {
            pace.within
        } else {
            GLANCE
        };
        Self {
            pace,
            begun: Instant::now(),
            glance: Box::pin(tokio::time::sleep(glance)),
        }
    }

    fn is_late(&mut self, received: u64, context: &mut Context<'_>) -> bool {
        while self.glance.as_mut().poll(context).is_ready() {
            if !self.pace.is_kept(received, self.begun.elapsed()) {
                return true;
            }
            let next = Instant::now() + GLANCE;
            self.glance.as_mut().reset(next);
        }
        false
    }
}

impl Arriving {
    fn new(inner: Body, pace: Option<Pace>, bytes: Counted, place: Arc<Place>) -> Self {
        Self {
            inner,
            clock: pace.map(Clock::new),
            bytes,
            sent_away: Box::pin(place.sent_away().clone().cancelled_owned()),
            place,
            received: 0,
            failed: false,
        }
    }

    /// A request that is one message.
    pub(in crate::server) fn whole(inner: Body, pace: Pace, place: Arc<Place>) -> Self {
        Self::new(inner, Some(pace), Counted::Whole, place)
    }

    /// A request that is bounded by its turn.
    pub(in crate::server) fn uncounted(inner: Body, pace: Pace, place: Arc<Place>) -> Self {
        Self::new(inner, Some(pace), Counted::Not, place)
    }

    /// A stream of messages, which waits before each if it is patient.
    pub(in crate::server) fn messages(inner: Body, place: Arc<Place>, is_patient: bool) -> Self {
        let bytes = Counted::Messages {
            framing: Framing::default(),
            held: 0,
            crowd: is_patient.then(Crowd::default),
        };
        Self::new(inner, None, bytes, place)
    }

    fn fail(&mut self, error: CoordinatorError) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.failed = true;
        Poll::Ready(Some(Err(error.into())))
    }

    /// Whoever polls has read all messages that were whole: they hold nothing any more. A patient
    /// stream waits between two of them.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Counted::Messages {
            framing,
            held,
            crowd,
        } = &mut self.bytes
        else {
            return Poll::Ready(());
        };
        let unfinished = framing.unfinished();
        if *held > unfinished {
            self.place.give_back(*held - unfinished);
            *held = unfinished;
        }
        match crowd {
            Some(crowd) if unfinished == 0 && self.received > 0 => {
                crowd.poll(self.place.room(), context)
            }
            _ => Poll::Ready(()),
        }
    }

    /// Takes room for bytes that came.
    fn count(&mut self, data: &[u8]) -> Result<(), CoordinatorError> {
        self.received += data.len() as u64;
        if let Some(Clock { pace, .. }) = &self.clock
            && self.received > pace.most
        {
            return Err(CoordinatorError::Invalid {
                field: "the request",
                problem: format!("has more than {} bytes", pace.most),
                remedy: "send less at once",
            });
        }
        match &mut self.bytes {
            Counted::Not => {}
            Counted::Whole => self.place.grow(data.len()).map_err(|NoRoom| busy())?,
            Counted::Messages { framing, held, .. } => {
                let followed = framing.follow(data);
                followed.map_err(|error| CoordinatorError::Unreadable(error.to_string()))?;
                self.place.grow(data.len()).map_err(|NoRoom| busy())?;
                *held += data.len();
                self.place.is_whole(framing.unfinished() == 0);
            }
        }
        Ok(())
    }
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.failed {
            return Poll::Ready(None);
        }
        let received = self.received;
        let clock = self.clock.as_mut();
        if clock.is_some_and(|clock| clock.is_late(received, context)) {
            return self.fail(CoordinatorError::Slow {
                what: "the whole request",
                remedy: "send it faster, or over a better connection",
            });
        }
        if self.sent_away.as_mut().poll(context).is_ready() {
            return self.fail(busy());
        }
        ready!(self.poll_room(context));
        match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
            Some(Ok(frame)) => match frame.data_ref().map(|data| self.count(data)) {
                Some(Err(error)) => self.fail(error),
                _ => Poll::Ready(Some(Ok(frame))),
            },
            other => {
                self.place.is_whole(true);
                Poll::Ready(other)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failed || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_keeps_its_pace_or_ends() {
        let pace = Pace::of_import(1 << 28);
        let seconds = Duration::from_secs;
        assert!(pace.is_kept(0, seconds(5)), "it may begin slowly");
        assert!(!pace.is_kept(LEAST_RATE - 1, seconds(6)));
        assert!(pace.is_kept(LEAST_RATE, seconds(6)));
        assert!(!pace.is_kept(1 << 28, seconds(180)));
        let small = Pace::whole_within(1_024, seconds(30));
        assert!(small.is_kept(0, seconds(29)));
        assert!(!small.is_kept(1_023, seconds(30)));
    }
}
