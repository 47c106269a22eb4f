//! Starting, repeating and stopping runs.

use tonic::Code;
use tributary_proto::v1::{RejectReason, RunState};

use crate::harness::hand::{hands, update};
use crate::harness::operator::{assert_refusal, of};
use crate::harness::{Coordinator, Operator, Recipe, fleet};

async fn started_at_once(operator: &Operator, key: &str) -> Vec<String> {
    let text = Recipe::new().text();
    let start = || operator.try_start(&text, key);
    let (a, b, c, d) = tokio::join!(start(), start(), start(), start());
    [a, b, c, d]
        .into_iter()
        .map(|started| started.unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_idempotency_key_starts_one_run_even_over_a_crash() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let text = Recipe::new().text();
    let first = operator.try_start(&text, "nightly").await.unwrap();
    assert_eq!(operator.try_start(&text, "nightly").await.unwrap(), first);
    let other = operator.try_start(&text, "weekly").await.unwrap();
    assert_ne!(other, first);
    let coordinator = coordinator.crash_and_restart().await;
    let operator = coordinator.operator().await;
    assert_eq!(operator.try_start(&text, "nightly").await.unwrap(), first);
    assert_eq!(operator.runs().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_with_one_key_at_the_same_moment_start_one_run() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let ids = started_at_once(&operator, "nightly").await;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(operator.runs().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_are_started_at_the_same_moment_have_ids_of_their_own() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut ids = started_at_once(&operator, "").await;
    ids.sort();
    assert_eq!(ids, ["tiny-1", "tiny-2", "tiny-3", "tiny-4"]);
    assert_eq!(operator.runs().await.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_a_run_releases_nothing_charges_nothing_and_frees_its_devices() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, 3).await;
    let run = operator.start(&Recipe::private().rounds(2, 3)).await;
    let mut orders = Vec::new();
    for (_, session) in &mut devices {
        orders.push(session.assignment().await);
    }
    for number in [0, 1] {
        devices[number]
            .0
            .counted(&orders[number], &update(number as u64))
            .await;
    }
    let stopped = operator.stop(&run).await.unwrap();
    assert_eq!(stopped.state(), RunState::Stopped);
    let (hand, bytes) = (devices[2].0.clone(), update(2));
    hand.refused(
        hand.header(&orders[2], &bytes),
        &bytes,
        RejectReason::UnknownRun,
    )
    .await;
    let shown = operator.show(&run).await;
    assert_eq!(shown.rounds.len(), 1);
    assert_eq!(
        (
            shown.rounds[0].phase.as_str(),
            shown.rounds[0].model_digest.as_str()
        ),
        ("aborted", "")
    );
    assert_eq!(
        of(&shown).contributions_total,
        0,
        "what was counted was not released"
    );
    let models = operator.models().await;
    assert_eq!(
        models.len(),
        1,
        "only the version that training began with: {models:?}"
    );
    let privacy = operator.privacy("").await;
    assert!(privacy.accounts.is_empty(), "{privacy:?}");
    assert_eq!(privacy.worst_device.unwrap().rho, 0.0);
    let again = operator.stop(&run).await.unwrap_err();
    assert_refusal(
        &again,
        Code::FailedPrecondition,
        "TRB-0300",
        &["the run is over"],
    );

    let next = operator.start(&Recipe::private().rounds(1, 3)).await;
    for (number, (hand, session)) in devices.iter_mut().enumerate() {
        let order = session.assignment().await;
        assert_eq!(order.run_id, next);
        hand.counted(&order, &update(number as u64)).await;
    }
    operator.completed(&next).await;
    let shown = operator.show(&run).await;
    assert_eq!(
        of(&shown).state(),
        RunState::Stopped,
        "a stopped run stays stopped"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_below_its_minimum_releases_nothing_and_is_tried_again_with_the_same_devices() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let channel = coordinator.channel().await;
    let fleet = fleet::start(&coordinator.endpoint(), 2, fleet::devices("eu", 3));
    fleet.wait_connected(3).await;
    // the fourth lets the first attempt fail: it takes its assignment and says nothing
    let silent = crate::harness::Hand::enrol(&channel, "silent", "eu").await;
    let mut session = silent.connect().await;
    let recipe = Recipe::private()
        .rounds(1, 4)
        .set("rounds.deadline_ms", 3_000);
    let run = operator.start(&recipe).await;
    session.assignment().await;
    let gave_up = operator
        .until(&run, "the first attempt's end", |shown| {
            shown
                .rounds
                .first()
                .is_some_and(|round| round.phase == "aborted")
        })
        .await;
    assert_eq!(gave_up.rounds[0].counted, 3);
    assert!(
        gave_up.rounds[0].reason.contains("fewer than 4"),
        "{:?}",
        gave_up.rounds[0]
    );
    assert!(
        operator.privacy("").await.accounts.is_empty(),
        "an aborted round was charged"
    );
    assert_eq!(
        operator.models().await.len(),
        1,
        "an aborted round was released"
    );

    let order = session.assignment().await;
    silent.counted(&order, &update(0)).await;
    let shown = operator.completed(&run).await;
    assert_eq!(shown.rounds.last().unwrap().counted, 4);
    assert_eq!(operator.privacy("").await.accounts[0].charges, 1);
}
