//! What can't go on in this process is told: on `/readyz`, and to who waits for it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::core::Core;
use crate::error::CoordinatorError;
use crate::telemetry::Telemetry;

/// How often the store is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Why nothing can go on in this process.
#[derive(Debug, Clone)]
pub struct Stopped {
    /// In a sentence, with the remedy.
    pub reason: String,
    /// The stable code.
    pub code: &'static str,
}

/// Tells once that nothing can go on.
#[derive(Clone)]
pub(super) struct Alarm {
    telemetry: Arc<Telemetry>,
    told: watch::Sender<Option<Stopped>>,
}

impl Alarm {
    pub(super) fn new(telemetry: Arc<Telemetry>) -> Self {
        let told = watch::Sender::new(None);
        Self { telemetry, told }
    }

    /// Where it is told.
    pub(super) fn told(&self) -> watch::Receiver<Option<Stopped>> {
        self.told.subscribe()
    }

    fn raise(&self, stopped: Stopped) {
        tracing::error!(reason = stopped.reason, "the coordinator can't go on");
        self.telemetry.health.stopped(stopped.reason.clone());
        self.told.send_if_modified(|told| {
            // the first reason is the cause of the others
            let is_first = told.is_none();
            told.get_or_insert(stopped);
            is_first
        });
    }

    /// Looks again and again whether the store has stopped, until nobody wants to know.
    pub(super) async fn watch_store(self, core: Arc<Core>) {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            if self.told.is_closed() {
                return;
            }
            if let Some(error) = core.store.failure() {
                return self.raise(Stopped {
                    reason: error.to_string(),
                    code: error.code(),
                });
            }
        }
    }

    /// Does work that ends only after `stop`: any other end is told, also a panic.
    pub(super) async fn watch<E: std::fmt::Display>(
        self,
        what: &'static str,
        work: impl Future<Output = Result<(), E>>,
        stop: CancellationToken,
    ) {
        let ended = AssertUnwindSafe(work).catch_unwind().await;
        if stop.is_cancelled() {
            return;
        }
        let why = match ended {
            Ok(Ok(())) => "it ended".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it crashed, see the log".to_owned(),
        };
        self.raise(Stopped {
            reason: format!(
                "{what} stopped ({why}), so nothing is served any more: start the process again, and report it"
            ),
            code: CoordinatorError::Crashed(what).code(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_crashes_or_ends_by_itself_is_told_once_and_not_after_a_stop() {
        let alarm = || Alarm::new(Arc::default());
        let stop = CancellationToken::new();
        let (crash, end, stopped) = (alarm(), alarm(), alarm());
        let mut told = crash.told();
        let work = async { panic!("as asked") as Result<(), String> };
        crash.clone().watch("the door", work, stop.clone()).await;
        let work = async { Err("again") };
        crash.clone().watch("the door", work, stop.clone()).await;
        let reason = told.wait_for(Option::is_some).await.unwrap();
        let reason = reason.clone().unwrap();
        assert!(reason.reason.contains("the door"), "{reason:?}");
        assert!(reason.reason.contains("it crashed"), "{reason:?}");
        assert_eq!(reason.code, "TRB-0610");
        let (code, page) = crash.telemetry.health.page();
        assert_eq!(code, axum::http::StatusCode::SERVICE_UNAVAILABLE);
        assert!(page.contains("the door"), "{page}");

        let work = async { Ok::<(), String>(()) };
        end.clone().watch("the door", work, stop.clone()).await;
        assert!(end.told().borrow().is_some());

        stop.cancel();
        let work = async { Ok::<(), String>(()) };
        stopped.clone().watch("the door", work, stop).await;
        assert!(stopped.told().borrow().is_none());
    }
}
