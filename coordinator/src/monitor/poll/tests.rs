use std::sync::Arc;

use tributary_drift::Quantity;
use tributary_proto::v1::{AnswerWindow, Vote};

use super::ballot::BLANK;
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
