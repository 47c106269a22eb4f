//! Devices that can't hold a stream.

use std::time::Duration;

use tributary_device::SessionMode;
use tributary_device_sim::SimDevice;
use tributary_proto::v1::Assignment;
use tributary_proto::v1::directive::Directive as Order;

use crate::harness::hand::update;
use crate::harness::operator::of;
use crate::harness::{Coordinator, Hand, PATIENCE, Recipe, fleet};

/// Polls until there is an assignment.
async fn assignment(hand: &Hand) -> Assignment {
    let begun = std::time::Instant::now();
    loop {
        let answer = hand.check_in(Vec::new()).await.unwrap();
        assert!(
            answer.retry_after_ms > 0,
            "an answer always says when to come back"
        );
        assert!(
            answer.retry_before_ms > answer.retry_after_ms,
            "the window has a width"
        );
        for directive in answer.directives {
            if let Some(Order::Assignment(assignment)) = directive.directive {
                return assignment;
            }
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{} polled in vain for an assignment",
            hand.id
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_that_poll_complete_rounds_beside_one_that_holds_a_stream() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let polls = |device: SimDevice| SimDevice {
        mode: SessionMode::Poll,
        ..device
    };
    let polling = fleet::devices("eu", 3).into_iter().map(polls);
    let devices = polling.chain([fleet::device("us", 0)]).collect();
    let fleet = fleet::start(&coordinator.endpoint(), 2, devices);
    fleet.wait_connected(4).await;
    let run = operator.start(&Recipe::private().rounds(2, 4)).await;
    let shown = operator.completed(&run).await;
    assert_eq!(of(&shown).contributions_total, 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_polling_device_gets_its_assignment_again_after_a_crash_of_the_coordinator() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let hand = Hand::enrol(&coordinator.channel().await, "poller", "eu").await;
    hand.check_in(Vec::new()).await.unwrap();
    // a deadline that is not met here, so that a second attempt at the round can't help
    let recipe = Recipe::new()
        .rounds(1, 1)
        .set("rounds.deadline_ms", 600_000);
    let run = operator.start(&recipe).await;
    let first = assignment(&hand).await;
    let coordinator = coordinator.crash_and_restart().await;
    let hand = hand.over(&coordinator.channel().await);
    let again = assignment(&hand).await;
    assert_eq!(
        (again.run_id.as_str(), again.round),
        (run.as_str(), first.round)
    );
    assert_eq!(again.model_digest, first.model_digest);
    hand.counted(&again, &update(0)).await;
    coordinator.operator().await.completed(&run).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assignment_in_a_lost_answer_is_answered_again_with_the_time_that_is_left() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let hand = Hand::enrol(&coordinator.channel().await, "poller", "eu").await;
    hand.check_in(Vec::new()).await.unwrap();
    let recipe = Recipe::new()
        .rounds(1, 1)
        .set("rounds.deadline_ms", 600_000);
    let run = operator.start(&recipe).await;
    let lost = assignment(&hand).await;
    // the device never saw it: it polls as before
    tokio::time::sleep(Duration::from_millis(50)).await;
    let again = assignment(&hand).await;
    assert_eq!((again.round, again.attempt), (lost.round, lost.attempt));
    assert!(
        again.lease_ms < lost.lease_ms,
        "the lease does not begin anew"
    );
    hand.counted(&again, &update(0)).await;
    let answer = hand.check_in(Vec::new()).await.unwrap();
    let orders = answer.directives.iter();
    let repeated = orders.filter(|one| matches!(one.directive, Some(Order::Assignment(_))));
    assert_eq!(repeated.count(), 0, "it was answered");
    operator.completed(&run).await;
}
