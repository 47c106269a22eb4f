//! Whether the coordinator serves, and what is amiss while it does: what `/readyz` says.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::time::Instant;

use crate::quarantine::Quarantine;

/// Most characters of a reason on the page.
const MAX_REASON: usize = 300;

/// The health of one coordinator.
#[derive(Debug, Default)]
pub struct Health {
    ready: AtomicBool,
    /// When it began to serve.
    began: OnceLock<Instant>,
    /// Why nothing works any more; set once.
    stopped: OnceLock<String>,
    /// By what is amiss (`run quickstart-1`): why. All else works.
    amiss: Mutex<BTreeMap<String, String>>,
    /// What is damaged. It is named, and is no reason for anything else to be less well.
    set_aside: Arc<Quarantine>,
}

impl Health {
    /// Where what is damaged is set aside.
    pub fn set_aside(&self) -> &Arc<Quarantine> {
        &self.set_aside
    }

    /// Says whether the coordinator serves.
    pub fn set_ready(&self, ready: bool) {
        if ready {
            self.began.get_or_init(Instant::now);
        }
        self.ready.store(ready, Ordering::SeqCst);
    }

    /// True while it serves.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst) && self.stopped.get().is_none()
    }

    /// For how long devices could come so far; none before it served.
    pub fn has_served(&self) -> Option<Duration> {
        self.began.get().map(Instant::elapsed)
    }

    /// Says that a part without which nothing works has stopped for good.
    pub fn stopped(&self, reason: String) {
        // the first reason is the cause of the others
        let _ = self.stopped.set(reason);
    }

    /// Says that one thing does not work, and why; true when it was well before.
    pub fn is_amiss(&self, what: &str, reason: &str) -> bool {
        let reason = reason.chars().take(MAX_REASON).collect();
        let mut amiss = self.amiss.lock().unwrap_or_else(PoisonError::into_inner);
        amiss.insert(what.to_owned(), reason).is_none()
    }

    /// Says that it works again, or is gone.
    pub fn is_well(&self, what: &str) {
        let mut amiss = self.amiss.lock().unwrap_or_else(PoisonError::into_inner);
        amiss.remove(what);
    }

    /// Status and text of `/readyz`: `ok`, or `degraded` and a line for each thing that is amiss; then a
    /// line for each that is set aside. Or why nothing is served.
    pub fn page(&self) -> (StatusCode, String) {
        if let Some(reason) = self.stopped.get() {
            let text = format!("not ready: {reason}\n");
            return (StatusCode::SERVICE_UNAVAILABLE, text);
        }
        if !self.is_ready() {
            let text = "not ready: still recovering or stopping\n".to_owned();
            return (StatusCode::SERVICE_UNAVAILABLE, text);
        }
        let amiss = self.amiss.lock().unwrap_or_else(PoisonError::into_inner);
        let word = if amiss.is_empty() { "ok" } else { "degraded" };
        let mut text = format!("{word}\n");
        for (what, reason) in amiss.iter() {
            // writing to a String can't fail
            let _ = writeln!(text, "{what}: {}", reason.replace('\n', " "));
        }
        text.push_str(&self.set_aside.page());
        (StatusCode::OK, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_amiss_is_named_until_it_is_well_and_a_stop_is_final() {
        let health = Health::default();
        assert_eq!(health.page().0, StatusCode::SERVICE_UNAVAILABLE);
        health.set_ready(true);
        assert_eq!(health.page(), (StatusCode::OK, "ok\n".to_owned()));
        assert!(health.is_amiss("run a", "waiting for space"));
        assert!(!health.is_amiss("run a", "waiting\nfor more space"));
        let text = "degraded\nrun a: waiting for more space\n";
        assert_eq!(health.page(), (StatusCode::OK, text.to_owned()));
        health.is_well("run a");
        assert_eq!(health.page().1, "ok\n");
        health.stopped("the metadata store stopped".to_owned());
        health.stopped("and so did others".to_owned());
        health.set_ready(true);
        let text = "not ready: the metadata store stopped\n";
        let page = (StatusCode::SERVICE_UNAVAILABLE, text.to_owned());
        assert_eq!((health.page(), health.is_ready()), (page, false));
    }

    #[test]
    fn what_is_set_aside_is_on_the_same_page_whether_something_is_amiss_or_not() {
        let health = Health::default();
        health.set_ready(true);
        let error = crate::CoordinatorError::Crashed("the task of a run");
        let cause = health.set_aside().add("run", "tiny-1", &error).shown();
        let named = format!("quarantined run tiny-1: {cause}\n");
        assert_eq!(health.page(), (StatusCode::OK, format!("ok\n{named}")));
        health.is_amiss("run a", "waiting for space");
        let text = format!("degraded\nrun a: waiting for space\n{named}");
        assert_eq!(health.page(), (StatusCode::OK, text));
        health.stopped("halted".to_owned());
        assert_eq!(health.page().1, "not ready: halted\n");
    }
}
