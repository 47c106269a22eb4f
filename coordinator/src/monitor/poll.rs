//! Asking devices and summing their votes: one vote per device, quantity and window.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tributary_drift::Quantity;
use tributary_proto::DeviceId;
use tributary_proto::v1::{
    Directive, Reject, RejectReason, SummaryReport, SummaryRequest, Vote, directive,
};

use super::quantities::wire;
use super::record::FIRST_CALIBRATION;
use crate::core::Core;
use crate::epoch::{Place, calibrations_of};

/// A vote that is counted and adds to no bin.
const BLANK: u32 = u32::MAX;

/// What is asked of one group of devices.
pub struct Question {
    /// The request as sent.
    pub request: SummaryRequest,
    /// Who is asked.
    pub devices: Vec<DeviceId>,
}

/// The votes of one group. No `Debug`: the sums are exact.
#[derive(Clone, Default)]
pub struct Votes {
    /// Sums by quantity and bin.
    pub sums: Vec<Vec<i64>>,
    /// Who voted.
    pub voters: Vec<DeviceId>,
}

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

impl Poll {
    fn new(groups: &[Question]) -> Self {
        let empty = |group: &Question| Votes {
            sums: group
                .request
                .quantities
                .iter()
                .map(|q| vec![0; q.bins as usize])
                .collect(),
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
            return Err(format!(
                "{} votes for {} quantities",
                report.votes.len(),
                asked.len()
            ));
        }
        // under privacy a bin that is not there is a blank vote: whatever is found in an answer of the
        // right form is told to nobody
        let is_private = self.requests[group].answer_window.is_some();
        for (quantity, vote) in asked.iter().zip(&report.votes) {
            let there = bin(vote).is_none_or(|bin| bin < quantity.bins);
            if quantity.quantity_id != vote.quantity_id || !(there || is_private) {
                return Err("a vote names another quantity or a bin that is not there".to_owned());
            }
        }
        self.waiting.remove(device);
        let votes = &mut self.votes[group];
        for (sums, vote) in votes.sums.iter_mut().zip(&report.votes) {
            let chosen = bin(vote).and_then(|bin| sums.get_mut(bin as usize));
            if let Some(sum) = chosen {
                *sum += 1;
            }
        }
        votes.voters.push(device.clone());
        Ok(self.waiting.is_empty())
    }
}

/// The bin of a vote; none of a blank one.
fn bin(vote: &Vote) -> Option<u32> {
    match vote.ballot {
        0 => Some(vote.bin),
        BLANK => None,
        ballot => Some(ballot - 1),
    }
}

fn directive_of(core: &Core, device: &DeviceId, request: &SummaryRequest) -> Directive {
    let place = Place::of_window(request.window);
    let ticket = match request.window {
        FIRST_CALIBRATION.. => {
            let subject = calibrations_of(&request.monitor_id);
            core.epoch.order(device, &subject, place)
        }
        _ => core.epoch.order(device, &request.monitor_id, place),
    };
    let request = SummaryRequest {
        ticket: Some(ticket),
        ..request.clone()
    };
    Directive {
        directive: Some(directive::Directive::SummaryRequest(request)),
    }
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
        ..SummaryRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tributary_proto::v1::AnswerWindow;

    use super::*;
    use crate::fixtures::{core, device};

    fn quantities() -> Vec<Quantity> {
        let edges = vec![0.5, 0.9];
        vec![
            Quantity::prediction("prediction", 3).unwrap(),
            Quantity::with_edges("confidence", edges).unwrap(),
        ]
    }

    fn question(window: u64, devices: std::ops::Range<usize>) -> Question {
        let deadline = Duration::from_millis(5);
        let model = "m".to_owned();
        let request = request(
            "tiny-1-drift",
            window,
            "watch",
            model,
            &quantities(),
            deadline,
            None,
        );
        Question {
            request,
            devices: devices.map(device).collect(),
        }
    }

    fn report(window: u64, bins: &[u32]) -> SummaryReport {
        let quantities = quantities();
        let vote = |(quantity, &bin): (&Quantity, &u32)| Vote {
            quantity_id: quantity.id().to_string(),
            bin,
            ballot: 0,
        };
        let votes = quantities.iter().zip(bins).map(vote).collect();
        SummaryReport {
            window,
            votes,
            ..SummaryReport::default()
        }
    }

    #[test]
    fn invariant_1_one_vote_counts_per_device_quantity_and_window() {
        let mut poll = Poll::new(&[question(1, 0..2), question(1, 2..4)]);
        assert_eq!(poll.vote(&device(0), &report(1, &[2, 0])), Ok(false));
        let again = poll.vote(&device(0), &report(1, &[1, 1])).unwrap_err();
        assert!(again.contains("voted already"), "{again}");
        assert!(
            poll.vote(&device(9), &report(1, &[0, 0])).is_err(),
            "it was not asked"
        );
        assert_eq!(poll.vote(&device(3), &report(1, &[0, 2])), Ok(false));
        assert_eq!(poll.votes[0].sums, [vec![0, 0, 1, 0], vec![1, 0, 0, 0]]);
        assert_eq!(poll.votes[1].sums, [vec![1, 0, 0, 0], vec![0, 0, 1, 0]]);
        assert_eq!(poll.votes[1].voters, [device(3)]);
        assert_eq!(poll.vote(&device(1), &report(1, &[0, 0])), Ok(false));
        assert_eq!(
            poll.vote(&device(2), &report(1, &[0, 0])),
            Ok(true),
            "the last one"
        );
    }

    #[test]
    fn invariant_10_a_report_with_one_bad_vote_counts_nothing_and_may_be_sent_again() {
        let mut poll = Poll::new(&[question(1, 0..1)]);
        let mut foreign = report(1, &[0, 0]);
        foreign.votes[1].quantity_id = foreign.votes[0].quantity_id.clone();
        let mut swapped = report(1, &[0, 0]);
        swapped.votes.swap(0, 1);
        let mut long = report(1, &[0, 0]);
        long.votes.push(long.votes[0].clone());
        let bad = [
            report(1, &[0, 4]),
            report(1, &[0, u32::MAX]),
            report(1, &[0]),
            foreign,
            swapped,
            long,
        ];
        for report in bad {
            assert!(poll.vote(&device(0), &report).is_err(), "{report:?}");
            assert!(poll.votes[0].sums.iter().flatten().all(|&sum| sum == 0));
            assert!(poll.votes[0].voters.is_empty());
        }
        assert_eq!(poll.vote(&device(0), &report(1, &[3, 3])), Ok(true));
    }

    #[test]
    fn invariant_11_a_blank_vote_counts_as_one_and_adds_to_no_bin() {
        let mut asked = question(1, 0..4);
        asked.request.answer_window = Some(AnswerWindow::default());
        let mut poll = Poll::new(&[asked]);
        let ballots = |ballots: [u32; 2]| {
            let mut report = report(1, &[0, 0]);
            for (vote, ballot) in report.votes.iter_mut().zip(ballots) {
                vote.ballot = ballot;
            }
            report
        };
        assert_eq!(poll.vote(&device(0), &ballots([BLANK, BLANK])), Ok(false));
        assert!(poll.votes[0].sums.iter().flatten().all(|&sum| sum == 0));
        // a bin that is not there is found inside an answer of the right form: nobody is told
        assert_eq!(poll.vote(&device(1), &ballots([99, 2])), Ok(false));
        assert_eq!(poll.votes[0].sums, [vec![0, 0, 0, 0], vec![0, 1, 0, 0]]);
        assert_eq!(poll.vote(&device(2), &report(1, &[77, 0])), Ok(false));
        assert_eq!(poll.vote(&device(3), &ballots([1, 1])), Ok(true));
        assert_eq!(poll.votes[0].sums, [vec![1, 0, 0, 0], vec![2, 1, 0, 0]]);
        assert_eq!(poll.votes[0].voters.len(), 4, "all of them are charged");
    }

    #[tokio::test]
    async fn a_window_waits_no_longer_for_a_device_that_declines() {
        let core = core().await;
        let polls = Arc::new(Polls::default());
        let (_, mut messages) = core.fleet.connect(&device(0));
        let (asking, with) = (polls.clone(), core.clone());
        let asked = tokio::spawn(async move {
            let group = vec![question(7, 0..1)];
            let hour = Duration::from_secs(3_600);
            asking.ask(&with, 7, group, hour).await
        });
        messages.recv().await.unwrap();
        polls.decline(&device(0), 7);
        assert!(asked.await.unwrap()[0].voters.is_empty());
    }

    #[tokio::test]
    async fn a_window_ends_with_its_last_answer() {
        let core = core().await;
        let polls = Arc::new(Polls::default());
        let (_, mut messages) = core.fleet.connect(&device(0));
        let (asking, with) = (polls.clone(), core.clone());
        let asked = tokio::spawn(async move {
            let group = vec![question(7, 0..1)];
            asking
                .ask(&with, 7, group, Duration::from_secs(3_600))
                .await
        });
        let request = messages.recv().await.unwrap().directive.unwrap();
        assert!(matches!(request, directive::Directive::SummaryRequest(r) if r.window == 7));
        polls.ask_again(&core, &device(0));
        assert!(
            messages.recv().await.is_some(),
            "who comes back is asked again"
        );
        polls.vote(&core, &device(0), &report(7, &[1, 1]));
        let votes = asked.await.unwrap();
        assert_eq!(votes[0].voters, [device(0)]);
        assert_eq!(core.telemetry.votes.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_closed_window_takes_no_vote_and_says_so() {
        let core = core().await;
        let polls = Polls::default();
        let (_, mut messages) = core.fleet.connect(&device(0));
        let silent = polls
            .ask(&core, 1, vec![question(1, 0..1)], Duration::ZERO)
            .await;
        assert!(silent[0].voters.is_empty(), "the deadline ends the window");
        messages.recv().await.unwrap();
        polls.vote(&core, &device(0), &report(1, &[0, 0]));
        let told = messages.recv().await.unwrap().directive.unwrap();
        let directive::Directive::Reject(reject) = told else {
            panic!("{told:?}")
        };
        assert_eq!(reject.reason(), RejectReason::BadVote);
        assert!(reject.message.contains("closed"), "{}", reject.message);
        assert!(core.telemetry.render().contains("reason=\"bad_vote\"} 1"));
    }
}
