//! Asking devices and summing their votes: one vote per device, quantity and window.
//!
//! - `ballot`: one poll: whose vote counts, and the sums
//! - `request`: what is asked of whom

mod ballot;
mod request;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tributary_proto::DeviceId;
use tributary_proto::v1::{Directive, Reject, RejectReason, SummaryReport, directive};

use self::ballot::Poll;
use self::request::directive_of;
pub use self::request::{Question, request};
use crate::core::Core;
use crate::votes::Votes;

/// Ends a poll when it is dropped.
struct Open<'a> {
    polls: &'a Polls,
    window: u64,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.polls.lock().remove(&self.window);
    }
}

/// The open polls of one monitor.
#[derive(Default)]
pub struct Polls {
    open: Mutex<HashMap<u64, Poll>>,
    answered: Notify,
}

impl Polls {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Poll>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks groups of devices and waits for all answers or the deadline.
    pub async fn ask(
        &self,
        core: &Core,
        window: u64,
        groups: Vec<Question>,
        deadline: Duration,
    ) -> Vec<Votes> {
        self.lock().insert(window, Poll::new(&groups));
        // also when the wait is given up
        let _open = Open {
            polls: self,
            window,
        };
        for group in &groups {
            for device in &group.devices {
                core.fleet
                    .send(device, directive_of(core, device, &group.request));
            }
        }
        // the deadline ends the wait; what has come until then counts
        let _ = tokio::time::timeout(deadline, self.all_answered(window)).await;
        self.lock()
            .remove(&window)
            .map_or_else(Vec::new, |poll| poll.votes)
    }

    async fn all_answered(&self, window: u64) {
        loop {
            let answered = self.answered.notified();
            let waits = self
                .lock()
                .get(&window)
                .is_some_and(|poll| !poll.waiting.is_empty());
            if !waits {
                return;
            }
            answered.await;
        }
    }

    /// Takes a device's votes; all of them or none.
    pub fn vote(&self, core: &Core, device: &DeviceId, report: &SummaryReport) {
        let outcome = match self.lock().get_mut(&report.window) {
            Some(poll) => poll.vote(device, report),
            None => Err("this window is closed: wait for the next one".to_owned()),
        };
        match outcome {
            Ok(last) => {
                let votes = report.votes.len() as u64;
                core.telemetry.votes.fetch_add(votes, Ordering::Relaxed);
                if last {
                    self.answered.notify_waiters();
                }
            }
            Err(message) => {
                core.telemetry.rejected(RejectReason::BadVote);
                let reason = RejectReason::BadVote.into();
                let reject = Reject {
                    reason,
                    message,
                    ..Reject::default()
                };
                let directive = Directive {
                    directive: Some(directive::Directive::Reject(reject)),
                };
                core.fleet.send(device, directive);
            }
        }
    }

    /// Takes a device's word that it can't vote: nothing more is waited for.
    pub fn decline(&self, device: &DeviceId, window: u64) {
        let last = self.lock().get_mut(&window).is_some_and(|poll| {
            let waited = poll.waiting.remove(device).is_some();
            waited && poll.waiting.is_empty()
        });
        if last {
            self.answered.notify_waiters();
        }
    }

    /// Asks a device that came back.
    pub fn ask_again(&self, core: &Core, device: &DeviceId) {
        for poll in self.lock().values() {
            if let Some(&group) = poll.waiting.get(device) {
                let request = &poll.requests[group];
                core.fleet.send(device, directive_of(core, device, request));
            }
        }
    }
}

#[cfg(test)]
mod tests;
