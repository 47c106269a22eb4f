//! What happened, counted by reason. One tally may serve a whole fleet.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::watch;
use tonic::Code;
use tributary_proto::v1::RejectReason;

/// Different shapes kept; further ones are counted as `other`.
const SHAPE_LIMIT: usize = 1024;

/// Counters of one or many agents.
#[derive(Debug)]
pub struct Tally {
    events: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    shapes: Mutex<BTreeMap<String, u64>>,
    bytes_down: AtomicU64,
    bytes_up: AtomicU64,
    connected: watch::Sender<usize>,
}

/// A tally at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TallySnapshot {
    /// Agents with an open session, or whose last poll was answered.
    pub connected: usize,
    /// Bytes of models and builds received, without framing.
    pub bytes_down: u64,
    /// Bytes of updates sent, without framing.
    pub bytes_up: u64,
    /// Events by `kind.reason`, for example `rejected.goal_met` or `transport.unavailable`.
    pub events: BTreeMap<String, u64>,
    /// Session shapes and how often each occurred.
    pub shapes: BTreeMap<String, u64>,
}

impl TallySnapshot {
    /// How often `event` happened, for example `upload.counted`.
    pub fn count(&self, event: &str) -> u64 {
        self.events.get(event).copied().unwrap_or(0)
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            events: Mutex::default(),
            shapes: Mutex::default(),
            bytes_down: AtomicU64::new(0),
            bytes_up: AtomicU64::new(0),
            connected: watch::Sender::new(0),
        }
    }
}

/// Counters stay usable when a thread died while it counted.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tally {
    /// Counts one event of `kind` for `reason`.
    pub fn count(&self, kind: &'static str, reason: &'static str) {
        *locked(&self.events).entry((kind, reason)).or_default() += 1;
    }

    /// Counts a refusal by the coordinator.
    pub fn rejected(&self, reason: RejectReason) {
        let name = reason.as_str_name();
        self.count(
            "rejected",
            name.strip_prefix("REJECT_REASON_").unwrap_or(name),
        );
    }

    /// Counts a failed call.
    pub fn transport(&self, code: Code) {
        self.count("transport", code_name(code));
    }

    /// Records a session's shape.
    pub fn shape(&self, shape: String) {
        let mut shapes = locked(&self.shapes);
        let known = shapes.len() < SHAPE_LIMIT || shapes.contains_key(&shape);
        let key = if known { shape } else { "other".to_owned() };
        *shapes.entry(key).or_default() += 1;
    }

    /// Adds received bytes.
    pub fn received(&self, bytes: usize) {
        self.bytes_down.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Adds sent bytes.
    pub fn sent(&self, bytes: usize) {
        self.bytes_up.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts a session as open until the guard is dropped.
    pub fn session_opened(self: &std::sync::Arc<Self>) -> OpenSession {
        self.connected.send_modify(|count| *count += 1);
        OpenSession(std::sync::Arc::clone(self))
    }

    /// Waits until at least `count` sessions are open.
    pub async fn wait_connected(&self, count: usize) {
        let mut receiver = self.connected.subscribe();
        // The sender lives as long as self, so waiting can't fail.
        let _ = receiver.wait_for(|connected| *connected >= count).await;
    }

    /// The counters as they stand.
    pub fn snapshot(&self) -> TallySnapshot {
        let events = locked(&self.events)
            .iter()
            .map(|((kind, reason), count)| (format!("{kind}.{}", reason.to_lowercase()), *count))
            .collect();
        TallySnapshot {
            connected: *self.connected.borrow(),
            bytes_down: self.bytes_down.load(Ordering::Relaxed),
            bytes_up: self.bytes_up.load(Ordering::Relaxed),
            events,
            shapes: locked(&self.shapes).clone(),
        }
    }
}

/// An open session; dropping it says that the session ended.
#[derive(Debug)]
pub struct OpenSession(std::sync::Arc<Tally>);

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.0
            .connected
            .send_modify(|count| *count = count.saturating_sub(1));
    }
}

const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_by_reason() {
        let tally = Tally::default();
        tally.rejected(RejectReason::GoalMet);
        tally.rejected(RejectReason::GoalMet);
        tally.transport(Code::Unavailable);
        let snapshot = tally.snapshot();
        assert_eq!(snapshot.count("rejected.goal_met"), 2);
        assert_eq!(snapshot.count("transport.unavailable"), 1);
    }

    #[test]
    fn shapes_are_bounded_in_number() {
        let tally = Tally::default();
        for index in 0..SHAPE_LIMIT + 5 {
            tally.shape(index.to_string());
        }
        assert_eq!(tally.snapshot().shapes["other"], 5);
    }

    #[tokio::test]
    async fn sessions_count_while_they_are_open() {
        let tally = std::sync::Arc::new(Tally::default());
        let session = tally.session_opened();
        tally.wait_connected(1).await;
        drop(session);
        assert_eq!(tally.snapshot().connected, 0);
    }
}
