//! Who is asked: devices that fail are asked less, devices that are gone are not, and why assignments
//! came to nothing is counted.

use std::time::{Duration, Instant};

use tributary_device::SessionMode;
use tributary_device_sim::SimDevice;
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::{
    Assignment, AssignmentAbandoned, DropCount, DropReason, GetRunResponse, RunState,
};

use crate::harness::hand::hands;
use crate::harness::operator::of;
use crate::harness::{Coordinator, Hand, Operator, Recipe, Session, fleet};

fn given_back(order: &Assignment, kind: DropReason, reason: &str) -> Event {
    Event::AssignmentAbandoned(AssignmentAbandoned {
        run_id: order.run_id.clone(),
        round: order.round,
        reason: reason.to_owned(),
        kind: kind.into(),
        detail: String::new(),
    })
}

/// Gives every assignment back; the number of them once the stream ends.
async fn always_gives_back(mut session: Session, kind: DropReason) -> u32 {
    let mut asked = 0;
    while let Some(order) = session.next_order().await {
        if let Order::Assignment(order) = order {
            asked += 1;
            session.tell(given_back(&order, kind, "failed")).await;
        }
    }
    asked
}

fn counts(drops: &[DropCount]) -> Vec<(DropReason, u64)> {
    drops.iter().map(|one| (one.reason(), one.count)).collect()
}

async fn over(operator: &Operator, run: &str) -> GetRunResponse {
    let is_over = |shown: &GetRunResponse| of(shown).state() != RunState::Running;
    operator.until(run, "its end", is_over).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_that_always_give_back_do_not_starve_a_run() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let devices = [fleet::devices("eu", 12), fleet::devices("us", 12)].concat();
    let fleet = fleet::start(&coordinator.endpoint(), 2, devices);
    fleet.wait_connected(24).await;
    let mut asked = Vec::new();
    for (_, session) in hands(&coordinator.channel().await, 6).await {
        asked.push(tokio::spawn(always_gives_back(
            session,
            DropReason::Battery,
        )));
    }
    // with one device more that gives back than the over-selection bears a round would be given up
    let recipe = Recipe::private()
        .rounds(12, 5)
        .set("rounds.over_selection", 1.2)
        .set("rounds.population", 30);
    let run = operator.start(&recipe).await;
    let shown = operator.completed(&run).await;
    let gave_back = of(&shown).drops.iter().map(|one| one.count).sum::<u64>();
    assert!(
        gave_back >= 1,
        "nobody that gives back was ever asked: {shown:#?}"
    );
    assert_eq!(
        counts(&of(&shown).drops),
        [(DropReason::Battery, gave_back)]
    );
    let attempts = shown.rounds.len();
    assert!(attempts <= 12 + 6, "{attempts} attempts at 12 rounds");
}

/// Eight devices of a run with privacy that give back for `kind` whatever they are asked; it completes.
async fn completes_beside_devices_that_give_back(kind: DropReason) -> GetRunResponse {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let devices = [fleet::devices("eu", 8), fleet::devices("us", 8)].concat();
    let fleet = fleet::start(&coordinator.endpoint(), 2, devices);
    fleet.wait_connected(16).await;
    for (_, session) in hands(&coordinator.channel().await, 8).await {
        tokio::spawn(always_gives_back(session, kind));
    }
    // more of them than a cohort and what is asked beyond it
    let recipe = Recipe::private()
        .rounds(4, 4)
        .set("rounds.over_selection", 1.2)
        .set("rounds.deadline_ms", 2_000)
        .set("rounds.population", 24);
    let run = operator.start(&recipe).await;
    let shown = operator.completed(&run).await;
    let attempts = shown.rounds.len();
    assert!(attempts <= 4 + 8, "{attempts} attempts at 4 rounds");
    shown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_whose_records_cannot_be_written_do_not_starve_a_private_run() {
    let shown = completes_beside_devices_that_give_back(DropReason::Unable).await;
    let kinds = counts(&of(&shown).drops);
    assert!(
        kinds.iter().all(|(kind, _)| *kind == DropReason::Unable),
        "{kinds:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_devices_that_give_back_do_not_starve_a_private_run() {
    let shown = completes_beside_devices_that_give_back(DropReason::TrainingFailed).await;
    let kinds = counts(&of(&shown).drops);
    assert!(
        kinds.iter().all(|(kind, _)| *kind == DropReason::Expired),
        "{kinds:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pollers_that_went_away_fill_no_cohort_and_living_ones_are_connected() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let channel = coordinator.channel().await;
    for number in 0..8 {
        let ghost = Hand::enrol(&channel, &format!("ghost-{number}"), "eu").await;
        ghost.check_in(Vec::new()).await.unwrap();
    }
    let polls = |device: SimDevice| SimDevice {
        mode: SessionMode::Poll,
        ..device
    };
    let living = fleet::devices("us", 4).into_iter().map(polls).collect();
    let fleet = fleet::start(&coordinator.endpoint(), 2, living);
    fleet.wait_connected(4).await;
    // the ghosts' windows and what they may be late pass
    let begun = Instant::now();
    let connected = loop {
        let groups = operator.fleet().await.groups;
        let by_region = |region: &str| {
            let of_region = groups.iter().filter(|group| group.region == region);
            of_region.map(|group| group.connected).sum::<u64>()
        };
        let connected = (by_region("eu"), by_region("us"));
        if connected == (0, 4) || begun.elapsed() > Duration::from_secs(30) {
            break connected;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert_eq!(connected, (0, 4), "ghosts and living pollers");
    let run = operator.start(&Recipe::private().rounds(3, 4)).await;
    let shown = operator.completed(&run).await;
    assert_eq!(
        shown.rounds.len(),
        3,
        "no attempt waited for a ghost: {shown:#?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_devices_gave_up_is_counted_by_kind() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let fleet = fleet::start(&coordinator.endpoint(), 2, fleet::devices("eu", 4));
    fleet.wait_connected(4).await;
    // the devices' examples have four features
    let recipe = Recipe::new().rounds(2, 4).set("model.input", vec![9]);
    let run = operator.start(&recipe).await;
    let shown = over(&operator, &run).await;
    assert_eq!(of(&shown).state(), RunState::Failed, "{shown:#?}");
    assert!(of(&shown).reason.contains("model mismatch 4"), "{shown:#?}");
    // every device refused, thrice: a fourth attempt would end alike
    assert!(
        of(&shown).reason.contains("mend the recipe's model.input"),
        "{shown:#?}"
    );
    assert_eq!(shown.rounds.len(), 3, "{shown:#?}");
    for round in &shown.rounds {
        assert_eq!(counts(&round.drops), [(DropReason::ModelMismatch, 4)]);
        assert_eq!(round.dropped, 4);
    }
    let all = 4 * shown.rounds.len() as u64;
    assert_eq!(
        counts(&of(&shown).drops),
        [(DropReason::ModelMismatch, all)]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_privacy_a_reason_that_data_may_be_behind_is_not_heard_and_the_lease_runs_out() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, 4).await;
    let recipe = Recipe::private()
        .rounds(1, 4)
        .set("rounds.deadline_ms", 2_000);
    let run = operator.start(&recipe).await;
    let kinds = [
        (DropReason::NoData, "failed"),
        (DropReason::TrainingFailed, "failed"),
        (DropReason::Slow, "slow"),
        (DropReason::UnknownTask, "failed"),
    ];
    for ((_, session), (kind, word)) in devices.iter_mut().zip(kinds) {
        let order = session.assignment().await;
        session.tell(given_back(&order, kind, word)).await;
    }
    let aborted = |shown: &GetRunResponse| shown.rounds[0].phase == "aborted";
    let shown = operator
        .until(&run, "the end of the attempt", aborted)
        .await;
    let told = [(DropReason::UnknownTask, 1), (DropReason::Expired, 3)];
    assert_eq!(counts(&shown.rounds[0].drops), told);
    assert!(
        !shown.rounds[0].reason.contains("data"),
        "{:?}",
        shown.rounds[0]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seeded_run_gives_a_dead_device_up_at_the_deadline_and_completes_without_it() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let fleet = fleet::start(&coordinator.endpoint(), 2, fleet::devices("eu", 3));
    fleet.wait_connected(3).await;
    let dying = Hand::enrol(&coordinator.channel().await, "dying", "eu").await;
    let mut session = dying.connect().await;
    let recipe = Recipe::private()
        .rounds(3, 4)
        .seeded(1)
        .set("rounds.minimum", 2)
        .set("rounds.population", 4)
        .set("rounds.deadline_ms", 2_000);
    let run = operator.start(&recipe).await;
    session.assignment().await;
    drop(session);
    let shown = operator.completed(&run).await;
    let counted: Vec<u64> = shown.rounds.iter().map(|round| round.counted).collect();
    assert_eq!(counted, [3, 3, 3]);
    assert_eq!(
        counts(&shown.rounds[0].drops),
        [(DropReason::ConnectionLost, 1)]
    );
    assert!(
        shown.rounds[1].drops.is_empty(),
        "it is not waited for again"
    );
}
