//! A run that is busy holds up nobody but itself.

use std::sync::Arc;

use tributary_coordinator::failpoint::Place;
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::{AssignmentAbandoned, DropReason, RunState};

use crate::harness::failing::Busy;
use crate::harness::hand::{hands, update};
use crate::harness::operator::of;
use crate::harness::{Coordinator, GLANCE, PATIENCE, Recipe};

/// More than may wait for a run.
const NOTICES: u32 = 3_000;

fn of_region(region: &str) -> Recipe {
    let recipe = Recipe::new().rounds(1, 2);
    recipe.set("regions", vec![region.to_owned()])
}

fn abandoned(run: &str, round: u32, attempt: u32) -> Event {
    Event::AssignmentAbandoned(AssignmentAbandoned {
        run_id: run.to_owned(),
        round,
        reason: "battery".to_owned(),
        detail: format!("word {attempt}"),
        kind: DropReason::Battery.into(),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_busy_with_its_release_does_not_stall_the_sessions_of_others() {
    let busy = Arc::new(Busy::default());
    let failpoint = busy.clone();
    let coordinator = Coordinator::start_with(|config| config.failpoint = failpoint).await;
    let operator = coordinator.operator().await;
    // d-0 and d-2 are in `eu`, d-1 and d-3 in `us`
    let mut devices = hands(&coordinator.channel().await, 4).await;
    let slow = operator.start(&of_region("eu")).await;
    busy.arm(Place::Releasing, &slow);
    for number in [0, 2] {
        let (hand, session) = &mut devices[number];
        let order = session.assignment().await;
        hand.counted(&order, &update(number as u64)).await;
    }
    let begun = std::time::Instant::now();
    while !busy.is_reached() {
        assert!(begun.elapsed() < PATIENCE, "the release does not begin");
        tokio::time::sleep(GLANCE).await;
    }

    // two sessions tell the busy run more than may wait for it, and then something to another run
    let other = operator.start(&of_region("us")).await;
    for number in [1, 3] {
        let (_, session) = &mut devices[number];
        let order = session.assignment().await;
        assert_eq!(order.run_id, other);
        for word in 0..NOTICES {
            session.tell(abandoned(&slow, 1, word)).await;
        }
        session.tell(abandoned(&other, order.round, 0)).await;
    }
    // both are heard, and a session that opens meanwhile is served too
    let heard = |shown: &tributary_proto::v1::GetRunResponse| {
        of(shown).drops.iter().map(|drop| drop.count).sum::<u64>() >= 2
    };
    operator.until(&other, "both to be heard", heard).await;
    for number in [1, 3] {
        let (hand, session) = &mut devices[number];
        *session = hand.connect().await;
        let mut order = session.assignment().await;
        while order.attempt == 1 {
            order = session.assignment().await;
        }
        hand.counted(&order, &update(number as u64)).await;
    }
    operator.completed(&other).await;
    let shown = operator.show(&slow).await;
    assert_eq!(of(&shown).state(), RunState::Running, "{shown:#?}");
    busy.let_go();
    operator.completed(&slow).await;
}
