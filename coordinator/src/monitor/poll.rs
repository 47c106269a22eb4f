//! Asking devices and summing their votes: one vote per device, quantity and window.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tributary_drift::Quantity;
use tributary_proto::DeviceId;
use tributary_proto::v1::{
    Directive, Reject, RejectReason, SummaryReport, SummaryRequest, directive,
};

use super::quantities::wire;
use crate::core::Core;

/// What is asked of one group of devices.
pub struct Question {
    /// The request as sent.
    pub request: SummaryRequest,
    /// Who is asked.
    pub devices: Vec<DeviceId>,
}

/// The votes of one group.
#[derive(Debug, Clone, Default)]
pub struct Votes {
    /// Sums by quantity and bin.
    pub sums: Vec<Vec<i64>>,
    /// Who voted.
    pub voters: Vec<DeviceId>,
}

struct Poll {
    requests: Vec<SummaryRequest>,
    /// Group of each device that has not answered.
    waiting: BTreeMap<DeviceId, usize>,
    votes: Vec<Votes>,
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
        for group in &groups {
            for device in &group.devices {
                core.fleet.send(device, directive_of(&group.request));
            }
        }
        // the deadline ends the wait; what has come until then counts
        let _ = tokio::time::timeout(deadline, self.all_answered(window)).await;
        self.lock().remove(&window).map_or_else(Vec::new, |poll| poll.votes)
    }

    async fn all_answered(&self, window: u64) {
        loop {
            let answered = self.answered.notified();
            let waits = self.lock().get(&window).is_some_and(|poll| !poll.waiting.is_empty());
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
                let reject = Reject { reason, message, retry_after_ms: 0 };
                let directive = Directive { directive: Some(directive::Directive::Reject(reject)) };
                core.fleet.send(device, directive);
            }
        }
    }

    /// Asks a device that came back.
    pub fn ask_again(&self, core: &Core, device: &DeviceId) {
        for poll in self.lock().values() {
            if let Some(&group) = poll.waiting.get(device) {
                core.fleet.send(device, directive_of(&poll.requests[group]));
            }
        }
    }
}

impl Poll {
    fn new(groups: &[Question]) -> Self {
        let empty = |group: &Question| Votes {
            sums: group.request.quantities.iter().map(|q| vec![0; q.bins as usize]).collect(),
            voters: Vec::new(),
        };
        let waiting = groups
            .iter()
            .enumerate()
            .flat_map(|(index, group)| group.devices.iter().map(move |id| (id.clone(), index)));
        Self {
            requests: groups.iter().map(|group| group.request.clone()).collect(),
            waiting: waiting.collect(),
            votes: groups.iter().map(empty).collect(),
        }
    }

    /// Counts a report; true when it was the last one.
    fn vote(&mut self, device: &DeviceId, report: &SummaryReport) -> Result<bool, String> {
        let Some(&group) = self.waiting.get(device) else {
            return Err("the device was not asked, or has voted already".to_owned());
        };
        let asked = &self.requests[group].quantities;
        if asked.len() != report.votes.len() {
            return Err(format!("{} votes for {} quantities", report.votes.len(), asked.len()));
        }
        for (quantity, vote) in asked.iter().zip(&report.votes) {
            if quantity.quantity_id != vote.quantity_id || vote.bin >= quantity.bins {
                return Err("a vote names another quantity or a bin that is not there".to_owned());
            }
        }
        self.waiting.remove(device);
        let votes = &mut self.votes[group];
        for (sums, vote) in votes.sums.iter_mut().zip(&report.votes) {
            sums[vote.bin as usize] += 1;
        }
        votes.voters.push(device.clone());
        Ok(self.waiting.is_empty())
    }
}

fn directive_of(request: &SummaryRequest) -> Directive {
    Directive { directive: Some(directive::Directive::SummaryRequest(request.clone())) }
}

/// A request for votes on `quantities`.
pub fn request(
    monitor_id: &str,
    window: u64,
    task: &str,
    model_digest: String,
    quantities: &[Quantity],
    deadline: Duration,
    seed: Option<[u8; 32]>,
) -> SummaryRequest {
    SummaryRequest {
        monitor_id: monitor_id.to_owned(),
        window,
        task: task.to_owned(),
        model_digest,
        quantities: quantities.iter().map(wire).collect(),
        deadline_ms: deadline.as_millis() as u64,
        simulation_seed: seed.map(|seed| seed.to_vec()).unwrap_or_default().into(),
    }
}
