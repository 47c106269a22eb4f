//! Counters, and the admin page: `/metrics` in Prometheus text, `/livez` and `/readyz`.
//!
//! Labels are bounded: reasons and kinds come from closed lists, never a device's id.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::routing::get;
use tributary_model::Digest;
use tributary_proto::v1::RejectReason;

use crate::health::Health;

/// A number that rises and falls.
#[derive(Debug, Default)]
pub struct Level {
    now: AtomicU64,
    most: AtomicU64,
}

impl Level {
    /// Says what it is now.
    pub fn set(&self, level: usize) {
        self.now.store(level as u64, Ordering::Relaxed);
        self.most.fetch_max(level as u64, Ordering::Relaxed);
    }

    /// The highest that it was.
    pub fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }
}

/// Counters of one coordinator.
#[derive(Default)]
pub struct Telemetry {
    rejects: Mutex<BTreeMap<&'static str, u64>>,
    downloads: Mutex<HashMap<Digest, u64>>,
    /// Bytes of objects sent.
    pub bytes_down: AtomicU64,
    /// Bytes of updates received.
    pub bytes_up: AtomicU64,
    /// Contributions counted.
    pub contributions: AtomicU64,
    /// Votes counted.
    pub votes: AtomicU64,
    /// Rounds published.
    pub rounds: AtomicU64,
    /// Sessions opened.
    pub sessions: AtomicU64,
    /// Times that a run began to wait for room on the disk.
    pub space_waits: AtomicU64,
    /// Bytes of requests that arrive.
    pub arriving: Arc<Level>,
    /// Bytes of answers that nobody has taken yet.
    pub leaving: Arc<Level>,
    /// Whether the coordinator serves, and what is amiss.
    pub health: Health,
}

impl Telemetry {
    /// Counts a refusal.
    pub fn rejected(&self, reason: RejectReason) {
        let mut rejects = self.rejects.lock().unwrap_or_else(PoisonError::into_inner);
        *rejects.entry(reason.as_str_name()).or_default() += 1;
    }

    /// Counts bytes that were sent.
    pub fn sent(&self, bytes: u64) {
        self.bytes_down.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes of an object that were sent to a device.
    pub fn downloaded(&self, digest: Digest, bytes: u64) {
        self.sent(bytes);
        let mut downloads = self
            .downloads
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *downloads.entry(digest).or_default() += bytes;
    }

    /// Bytes of an object that were sent since they were last forgotten.
    pub fn downloads(&self, digest: &Digest) -> u64 {
        let downloads = self
            .downloads
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        downloads.get(digest).copied().unwrap_or(0)
    }

    /// Forgets the bytes of an object that were sent, and says how many they were.
    pub fn take_downloads(&self, digest: &Digest) -> u64 {
        let mut downloads = self
            .downloads
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        downloads.remove(digest).unwrap_or(0)
    }

    /// Says whether the coordinator serves.
    pub fn set_ready(&self, ready: bool) {
        self.health.set_ready(ready);
    }

    /// Says that the coordinator is halted, and why; the first reason stays.
    pub fn set_halted(&self, reason: String) {
        self.health.stopped(reason);
    }

    /// True while the coordinator serves.
    pub fn is_ready(&self) -> bool {
        self.health.is_ready()
    }

    /// The counters as Prometheus text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let counters: [(&str, &str, &AtomicU64); 7] = [
            (
                "tributary_download_bytes_total",
                "Bytes of objects sent.",
                &self.bytes_down,
            ),
            (
                "tributary_upload_bytes_total",
                "Bytes of updates received.",
                &self.bytes_up,
            ),
            (
                "tributary_contributions_total",
                "Contributions counted.",
                &self.contributions,
            ),
            ("tributary_votes_total", "Votes counted.", &self.votes),
            (
                "tributary_rounds_published_total",
                "Rounds published.",
                &self.rounds,
            ),
            (
                "tributary_sessions_total",
                "Sessions opened.",
                &self.sessions,
            ),
            (
                "tributary_space_waits_total",
                "Times that a run began to wait for room on the disk.",
                &self.space_waits,
            ),
        ];
        for (name, help, value) in counters {
            let value = value.load(Ordering::Relaxed);
            // writing to a String can't fail
            let _ = writeln!(
                text,
                "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}"
            );
        }
        self.render_levels(&mut text);
        let name = "tributary_rejects_total";
        let _ = writeln!(
            text,
            "# HELP {name} Refusals by reason.\n# TYPE {name} counter"
        );
        let rejects = self.rejects.lock().unwrap_or_else(PoisonError::into_inner);
        for (reason, count) in rejects.iter() {
            let label = reason.trim_start_matches("REJECT_REASON_").to_lowercase();
            let _ = writeln!(text, "{name}{{reason=\"{label}\"}} {count}");
        }
        text
    }

    fn render_levels(&self, text: &mut String) {
        let levels = [
            (
                "tributary_arriving_bytes",
                "Bytes of requests that are not whole or not answered.",
                &self.arriving,
            ),
            (
                "tributary_leaving_bytes",
                "Bytes of answers that are not taken yet.",
                &self.leaving,
            ),
        ];
        for (name, help, level) in levels {
            let (now, most) = (level.now.load(Ordering::Relaxed), level.most());
            // writing to a String can't fail
            let _ = writeln!(
                text,
                "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {now}\n# HELP {name}_most The \
                 most of it since the start.\n# TYPE {name}_most gauge\n{name}_most {most}"
            );
        }
    }
}

/// The admin page's routes.
pub fn admin(telemetry: Arc<Telemetry>) -> Router {
    let ready = telemetry.clone();
    Router::new()
        .route("/metrics", get(move || async move { telemetry.render() }))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(move || async move { ready.health.page() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_name_type_and_value_of_every_counter() {
        let telemetry = Telemetry::default();
        telemetry.contributions.fetch_add(3, Ordering::Relaxed);
        telemetry.rejected(RejectReason::Duplicate);
        telemetry.rejected(RejectReason::Duplicate);
        telemetry.rejected(RejectReason::BadVote);
        let text = telemetry.render();
        assert!(text.contains("# TYPE tributary_contributions_total counter\n"));
        assert!(text.contains("\ntributary_contributions_total 3\n"));
        assert!(text.contains("\ntributary_rejects_total{reason=\"duplicate\"} 2\n"));
        assert!(text.contains("\ntributary_rejects_total{reason=\"bad_vote\"} 1\n"));
        let helps = text
            .lines()
            .filter(|line| line.starts_with("# HELP "))
            .count();
        let types = text
            .lines()
            .filter(|line| line.starts_with("# TYPE "))
            .count();
        assert_eq!((helps, types), (12, 12));
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(
                name.starts_with("tributary_") && value.parse::<u64>().is_ok(),
                "{line}"
            );
        }
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn downloads_of_an_object_are_taken_once_and_stay_in_the_total() {
        let telemetry = Telemetry::default();
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        telemetry.downloaded(one, 5);
        telemetry.downloaded(one, 7);
        telemetry.downloaded(other, 1);
        assert_eq!(telemetry.take_downloads(&one), 12);
        assert_eq!(telemetry.take_downloads(&one), 0);
        assert_eq!(telemetry.bytes_down.load(Ordering::Relaxed), 13);
    }
}
