//! A crash of one run's task, its sums or its release stays in that run.

use std::sync::Arc;

use tributary_coordinator::failpoint::Place;
use tributary_proto::v1::upload_response::Answer;
use tributary_proto::v1::{RejectReason, RunState};

use crate::harness::failing::Failing;
use crate::harness::hand::{hands, update};
use crate::harness::operator::of;
use crate::harness::{Coordinator, GLANCE, Operator, PATIENCE, Recipe, fleet};
use crate::invariant_1::expected;

async fn coordinator() -> (Coordinator, Arc<Failing>) {
    let failing = Arc::new(Failing::default());
    let failpoint = failing.clone();
    let coordinator = Coordinator::start_with(|config| config.failpoint = failpoint).await;
    (coordinator, failing)
}

fn of_region(region: &str, recipe: Recipe) -> Recipe {
    recipe.set("regions", vec![region.to_owned()])
}

/// Waits until the failpoint has failed.
async fn spent(failing: &Failing) {
    let begun = std::time::Instant::now();
    while !failing.is_spent() {
        assert!(begun.elapsed() < PATIENCE, "the failpoint is not reached");
        tokio::time::sleep(GLANCE).await;
    }
}

/// A run in `us` that must not notice anything.
async fn undisturbed(operator: &Operator) {
    let other = operator
        .start(&of_region("us", Recipe::private().rounds(2, 3)))
        .await;
    let shown = operator.completed(&other).await;
    assert_eq!(shown.rounds.len(), 2, "{shown:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_a_runs_task_gives_the_attempt_up_and_the_run_and_the_others_go_on() {
    let (coordinator, failing) = coordinator().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, 6).await;
    let run = operator
        .start(&of_region("eu", Recipe::private().rounds(1, 3)))
        .await;
    // d-0, d-2 and d-4 are in `eu`
    let mut eu: Vec<_> = devices.iter_mut().step_by(2).collect();
    let order = eu[0].1.assignment().await;
    eu[0].0.counted(&order, &update(0)).await;
    failing.arm(Place::Tick, &run, 2);
    spent(&failing).await;
    for (number, (hand, session)) in eu.iter_mut().enumerate() {
        let mut order = session.assignment().await;
        while order.attempt == 1 {
            order = session.assignment().await;
        }
        hand.counted(&order, &update(number as u64)).await;
    }
    let shown = operator.completed(&run).await;
    let given_up = &shown.rounds[0];
    assert_eq!((given_up.phase.as_str(), given_up.attempt), ("aborted", 1));
    assert!(given_up.reason.contains("[TRB-0610]"), "{given_up:?}");
    assert_eq!(shown.rounds.last().unwrap().counted, 3);
    drop(devices);
    let fleet = fleet::start(&coordinator.endpoint(), 2, fleet::devices("us", 3));
    fleet.wait_connected(3).await;
    undisturbed(&operator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_while_summing_gives_the_attempt_up_and_nothing_is_merged_into_an_empty_sum() {
    let (coordinator, failing) = coordinator().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, 3).await;
    let run = operator.start(&Recipe::new().rounds(1, 3)).await;
    let mut base = String::new();
    for (number, (hand, session)) in devices.iter_mut().enumerate() {
        let order = session.assignment().await;
        base.clone_from(&order.model_digest);
        let update = update(number as u64);
        if number < 2 {
            hand.counted(&order, &update).await;
            continue;
        }
        // two are counted; the third crashes the sums
        failing.arm(Place::Summing, &run, 1);
        let answer = hand.upload_as(hand.header(&order, &update), &update).await;
        match answer.unwrap() {
            Answer::Reject(reject) => assert_eq!(reject.reason(), RejectReason::Busy, "{reject:?}"),
            other => panic!("{other:?}"),
        }
    }
    for (number, (hand, session)) in devices.iter_mut().enumerate() {
        let order = session.assignment().await;
        assert_eq!(order.attempt, 2);
        hand.counted(&order, &update(number as u64 + 10)).await;
    }
    let shown = operator.completed(&run).await;
    let phases: Vec<(&str, u64)> = shown
        .rounds
        .iter()
        .map(|round| (round.phase.as_str(), round.counted))
        .collect();
    assert_eq!(phases, [("aborted", 2), ("published", 3)]);
    assert!(
        shown.rounds[0].reason.contains("[TRB-0610]"),
        "{:?}",
        shown.rounds[0]
    );
    let before = operator.file(&base).await;
    let after = operator.file(&of(&shown).model_digest).await;
    let updates: Vec<Vec<u8>> = (10..13).map(update).collect();
    assert_eq!(after.weights, expected(&before, &updates));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_crashes_once_is_drawn_again_and_one_that_always_does_fails_its_run_alone() {
    let (coordinator, failing) = coordinator().await;
    let operator = coordinator.operator().await;
    let fleet = fleet::start(
        &coordinator.endpoint(),
        2,
        [fleet::devices("eu", 3), fleet::devices("us", 3)].concat(),
    );
    fleet.wait_connected(6).await;
    failing.arm(Place::Releasing, "tiny-1", 1);
    let once = operator
        .start(&of_region("eu", Recipe::private().rounds(2, 3)))
        .await;
    let shown = operator.completed(&once).await;
    assert_eq!(shown.rounds.len(), 2, "the charged round was released");
    assert_eq!(operator.privacy(&once).await.accounts[0].charges, 2);

    failing.arm(Place::Releasing, "tiny-2", u32::MAX);
    let always = operator
        .start(&of_region("eu", Recipe::private().rounds(2, 3)))
        .await;
    undisturbed(&operator).await;
    let over = operator
        .until(&always, "its end", |shown| {
            of(shown).state() != RunState::Running
        })
        .await;
    assert_eq!(of(&over).state(), RunState::Failed, "{over:#?}");
    assert!(of(&over).reason.contains("[TRB-0610]"), "{over:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_state_does_not_take_a_durable_event_is_set_aside_at_once_and_frees_its_devices()
 {
    let (coordinator, failing) = coordinator().await;
    let operator = coordinator.operator().await;
    let fleet = fleet::start(&coordinator.endpoint(), 2, fleet::devices("us", 3));
    fleet.wait_connected(3).await;
    failing.arm(Place::Applying, "tiny-1", u32::MAX);
    let run = operator
        .start(&of_region("us", Recipe::private().rounds(2, 3)))
        .await;
    let aside = operator
        .until(&run, "its end", |shown| {
            of(shown).state() == RunState::Quarantined
        })
        .await;
    assert!(of(&aside).reason.contains("[TRB-0531]"), "{aside:#?}");
    let listed = operator.runs().await;
    assert_eq!(
        (listed[0].run_id.as_str(), listed[0].state()),
        (run.as_str(), RunState::Quarantined)
    );
    let page = coordinator.admin_page("/readyz").await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(page.contains(&format!("quarantined run {run}: ")), "{page}");
    // the same devices serve the next run
    undisturbed(&operator).await;
}
