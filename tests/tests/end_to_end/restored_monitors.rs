//! A data folder that was put back from a copy in which a monitor is known, but not what it asked since.

use std::sync::Arc;

use tonic::Code;
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::{SummaryRequest, Ticket, connect_request};

use crate::harness::hand::{Hand, Session, open_stream, update};
use crate::harness::operator::assert_refusal;
use crate::harness::{Coordinator, GLANCE, Operator, PATIENCE, Recipe, within};
use crate::restored::{copy, halted};

/// Devices of the run, fewer than its monitor needs.
const FEW: usize = 2;
/// Devices that are enough for a window, and for a calibration under half a vote of noise.
const ENOUGH: usize = 6;

/// One round of two devices, after which the monitor waits for more.
fn trained() -> Recipe {
    Recipe::private()
        .rounds(1, FEW as i64)
        .set("regions", vec!["eu"])
}

async fn connect(hands: &[Hand], coordinator: &Coordinator) -> Vec<(Hand, Session)> {
    let channel = coordinator.channel().await;
    let mut connected = Vec::new();
    for hand in hands {
        let hand = hand.over(&channel);
        let session = hand.connect().await;
        connected.push((hand, session));
    }
    connected
}

/// The next question; announcements of versions and builds are passed over.
async fn question(session: &mut Session) -> SummaryRequest {
    loop {
        if let Order::SummaryRequest(request) = session.order().await {
            return request;
        }
    }
}

/// Waits until the monitor of a run is there.
async fn monitored(operator: &Operator, run: &str) {
    let begun = std::time::Instant::now();
    while operator.monitor(run).await.is_none() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for a monitor");
        tokio::time::sleep(GLANCE).await;
    }
}

async fn shows(hand: &Hand, coordinator: &Coordinator, ticket: &Ticket) {
    let hand = hand.over(&coordinator.channel().await);
    let mut hello = hand.hello();
    hello.tickets = vec![ticket.clone()];
    let hello = connect_request::Message::Hello(hello);
    // a coordinator that halts may end the session
    let _ = open_stream(&hand.channel, Some(hello)).await;
}

/// Copies a folder in which the monitor is known and has asked nobody, lets it ask, and puts the copy back.
async fn a_question_that_the_copy_does_not_know_halts_it(recipe: &Recipe, what: &str) {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let channel = coordinator.channel().await;
    let mut hands = Vec::new();
    for number in 0..ENOUGH {
        hands.push(Hand::enrol(&channel, &format!("d-{number}"), "eu").await);
    }
    let mut few = connect(&hands[..FEW], &coordinator).await;
    let run = operator.start(recipe).await;
    for (number, (hand, session)) in (0..).zip(&mut few) {
        let order = session.assignment().await;
        hand.counted(&order, &update(number)).await;
    }
    operator.completed(&run).await;
    monitored(&operator, &run).await;
    let charges = operator.privacy("").await.accounts;
    let folder = coordinator.crash();
    drop(few);
    let copied = Arc::new(tempfile::tempdir().unwrap());
    // whoever crashed lets go of its files before they are copied
    drop(crate::quarantine::store(&folder).await);
    copy(&folder.path().join("data"), &copied.path().join("data"));

    let coordinator = Coordinator::open(folder, 2).await;
    let mut all = connect(&hands, &coordinator).await;
    let asked = within("a question", question(&mut all[0].1)).await;
    let ticket = asked.ticket.unwrap();
    assert!(
        ticket.subject.starts_with(&format!("{run}-drift")),
        "{ticket:?}"
    );
    // where it was asked it proves nothing new, after a restart neither
    drop(all);
    let coordinator = coordinator.crash_and_restart().await;
    shows(&hands[0], &coordinator, &ticket).await;
    assert_eq!(halted(&coordinator.operator().await).await, "");
    drop(coordinator);

    let coordinator = Coordinator::open(copied, 2).await;
    shows(&hands[0], &coordinator, &ticket).await;
    let operator = coordinator.operator().await;
    let reason = halted(&operator).await;
    let words = [
        "older than what devices have seen",
        &run,
        what,
        "nothing is assigned, charged or released",
        "tributary restore",
    ];
    for word in words {
        assert!(reason.contains(word), "{word:?} is missing in: {reason}");
    }
    assert_eq!(operator.privacy("").await.accounts, charges);
    // enough devices come, and nobody is asked: every question is a commit first
    let mut all = connect_again(&hands, &coordinator).await;
    for session in &mut all {
        assert!(session.is_silent().await, "somebody was asked");
    }
    assert_eq!(operator.privacy("").await.accounts, charges);
    let refused = operator.refused(&trained().text()).await;
    let words = ["tributary restore"];
    assert_refusal(&refused, Code::Unavailable, "TRB-0520", &words);
}

/// Sessions of those whom a halted coordinator lets in.
async fn connect_again(hands: &[Hand], coordinator: &Coordinator) -> Vec<Session> {
    connect(hands, coordinator)
        .await
        .into_iter()
        .map(|(_, session)| session)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_window_of_a_known_monitor_halts_a_folder_that_was_put_back() {
    let watched = trained()
        .set("drift.interval_ms", 1)
        .set("drift.windows", 40)
        .set("drift.noise_votes", 0.5)
        .set("drift.minimum_devices", ENOUGH as i64)
        .set("drift.max_invisible_psi", 1e6)
        .set("drift.quantities", crate::invariant_7::quantities());
    a_question_that_the_copy_does_not_know_halts_it(
        &watched,
        "was asked in window 1 of monitor tiny-1-drift,",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_calibration_of_a_known_monitor_halts_a_folder_that_was_put_back() {
    let built = trained()
        .set("builds.widths", vec![1.0])
        .set("builds.calibration_noise_votes", 0.5);
    a_question_that_the_copy_does_not_know_halts_it(
        &built,
        "was asked in calibration 1 of monitor tiny-1-drift,",
    )
    .await;
}
