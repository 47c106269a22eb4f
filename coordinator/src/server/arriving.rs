//! A request's body that must arrive within its length and its time.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;

use crate::error::CoordinatorError;

/// An import may begin slowly, and then sends at least so many bytes per second...
const GRACE: Duration = Duration::from_secs(5);
const LEAST_RATE: u64 = 256 * 1024;
/// ... and is over after this.
const LONGEST_IMPORT: Duration = Duration::from_secs(180);
/// How often that is looked at.
const GLANCE: Duration = Duration::from_secs(1);

/// How much may come, and how fast it must.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    most: u64,
    within: Duration,
    least_rate: u64,
}

impl Pace {
    /// At most `most` bytes, all of them within a time.
    pub(super) const fn whole_within(most: u64, within: Duration) -> Self {
        Self {
            most,
            within,
            least_rate: 0,
        }
    }

    /// At most `most` bytes at a least rate.
    pub(super) const fn of_import(most: u64) -> Self {
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

/// A body with its pace.
pub(super) struct Arriving {
    inner: Body,
    pace: Pace,
    begun: Instant,
    received: u64,
    glance: Pin<Box<Sleep>>,
    failed: bool,
}

impl Arriving {
    pub(super) fn new(inner: Body, pace: Pace) -> Self {
        let glance = if pace.least_rate == 0 {
            pace.within
        } else {
            GLANCE
        };
        Self {
            inner,
            pace,
            begun: Instant::now(),
            received: 0,
            glance: Box::pin(tokio::time::sleep(glance)),
            failed: false,
        }
    }

    fn fail(&mut self, error: CoordinatorError) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.failed = true;
        Poll::Ready(Some(Err(error.into())))
    }

    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        while self.glance.as_mut().poll(context).is_ready() {
            if !self.pace.is_kept(self.received, self.begun.elapsed()) {
                return true;
            }
            let next = Instant::now() + GLANCE;
            self.glance.as_mut().reset(next);
        }
        false
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
        if self.is_late(context) {
            return self.fail(CoordinatorError::Slow {
                what: "the whole request",
                remedy: "send it faster, or over a better connection",
            });
        }
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other),
        };
        self.received += frame.data_ref().map_or(0, |data| data.len() as u64);
        if self.received > self.pace.most {
            let most = self.pace.most;
            return self.fail(CoordinatorError::Invalid {
                field: "the request",
                problem: format!("has more than {most} bytes"),
                remedy: "send less at once",
            });
        }
        Poll::Ready(Some(Ok(frame)))
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
