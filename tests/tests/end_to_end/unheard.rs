//! What becomes of an open round when fewer devices come back after a start than have to be heard.

use std::sync::Arc;

use tributary_coordinator::failpoint::Place;
use tributary_proto::v1::{GetRunResponse, RunState};

use crate::harness::failing::Busy;
use crate::harness::hand::{Session, hands, update};
use crate::harness::operator::of;
use crate::harness::{Coordinator, GLANCE, Hand, Operator, PATIENCE, Recipe};

/// Five devices are asked, all are needed, and after a start three have to be heard.
fn recipe() -> Recipe {
    let recipe = Recipe::private().rounds(1, 5);
    // shorter than what is listened for at least
    let recipe = recipe.set("rounds.deadline_ms", 20_000);
    recipe.set("rounds.selection_timeout_ms", 1_000)
}

/// A coordinator that was started again in the first round, and nobody is back yet.
struct Scene {
    coordinator: Coordinator,
    operator: Operator,
    devices: Vec<Hand>,
    run: String,
}

impl Scene {
    /// Before the last answer came.
    async fn while_collecting() -> Self {
        let coordinator = Coordinator::start().await;
        let devices = hands(&coordinator.channel().await, 5).await;
        let scene = Self::begun(coordinator, devices, 4, |_| {}).await;
        scene.restarted(|| {}).await
    }

    /// When all have answered and are charged, and nobody knows whether the release was made.
    async fn while_releasing() -> Self {
        let busy = Arc::new(Busy::default());
        let failpoint = busy.clone();
        let coordinator = Coordinator::start_with(|config| config.failpoint = failpoint).await;
        let devices = hands(&coordinator.channel().await, 5).await;
        let arm = |run: &str| busy.arm(Place::Releasing, run);
        // the last answer is the one that nobody waits for: its round is busy with the release
        let scene = Self::begun(coordinator, devices, 5, arm).await;
        let begun = std::time::Instant::now();
        while !busy.is_reached() {
            assert!(begun.elapsed() < PATIENCE, "the release does not begin");
            tokio::time::sleep(GLANCE).await;
        }
        let scene = scene.restarted(|| busy.let_go()).await;
        assert_eq!(
            of(&scene.operator.show(&scene.run).await).state(),
            RunState::Running
        );
        scene
    }

    async fn begun(
        coordinator: Coordinator,
        mut devices: Vec<(Hand, Session)>,
        answers: usize,
        begun: impl FnOnce(&str),
    ) -> Self {
        let operator = coordinator.operator().await;
        let run = operator.start(&recipe()).await;
        begun(&run);
        for (number, (hand, session)) in (0..).zip(&mut devices) {
            let order = session.assignment().await;
            if number < answers {
                hand.counted(&order, &update(number as u64)).await;
            }
        }
        Self {
            coordinator,
            operator,
            devices: devices.into_iter().map(|(hand, _)| hand).collect(),
            run,
        }
    }

    async fn restarted(self, meanwhile: impl FnOnce()) -> Self {
        let folder = self.coordinator.crash();
        meanwhile();
        let coordinator = Coordinator::open(folder, 2).await;
        let (operator, channel) = (coordinator.operator().await, coordinator.channel().await);
        let devices = self.devices.iter().map(|hand| hand.over(&channel));
        Self {
            devices: devices.collect(),
            coordinator,
            operator,
            run: self.run,
        }
    }

    async fn until(&self, what: &str, holds: impl Fn(&GetRunResponse) -> bool) -> GetRunResponse {
        self.operator.until(&self.run, what, holds).await
    }
}

const CAME_BACK: &str = "of the 3 devices that were waited for came back after a start of the \
                         coordinator and showed what they had answered";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_that_nothing_was_charged_for_is_given_up_when_too_few_come_back() {
    let scene = Scene::while_collecting().await;
    let _back = scene.devices[0].connect().await;
    let shown = scene
        .until("the attempt's end", |shown| {
            // the open round is listed too
            shown.rounds.iter().any(|round| !round.reason.is_empty())
        })
        .await;
    let said = format!("1 {CAME_BACK}: what was released before can't be known");
    assert_eq!(shown.rounds[0].reason, said);
    let accounts = scene.operator.privacy(&scene.run).await.accounts;
    assert!(
        accounts.iter().all(|account| account.charges == 0),
        "{accounts:?}"
    );
    assert_eq!(
        scene.operator.models().await.len(),
        1,
        "something was released"
    );
    // the run itself goes on once its devices are there
    let mut sessions = Vec::new();
    for hand in &scene.devices {
        sessions.push((hand, hand.connect().await));
    }
    for (number, (hand, session)) in (0..).zip(&mut sessions) {
        let mut order = session.assignment().await;
        while order.attempt == 1 {
            order = session.assignment().await;
        }
        hand.counted(&order, &update(number)).await;
    }
    scene.operator.completed(&scene.run).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_charged_round_is_not_released_when_nobody_comes_back() {
    let scene = Scene::while_releasing().await;
    let shown = scene
        .until("the run's end", |shown| {
            of(shown).state() == RunState::Failed
        })
        .await;
    let reason = &of(&shown).reason;
    assert!(reason.starts_with(&format!("0 {CAME_BACK}")), "{reason}");
    assert!(
        reason.contains("nobody knows whether round 1 was released already"),
        "{reason}"
    );
    assert!(reason.contains("start a new run"), "{reason}");
    assert_eq!(
        scene.operator.models().await.len(),
        1,
        "something was released"
    );
    let accounts = scene.operator.privacy(&scene.run).await.accounts;
    assert!(
        accounts.iter().all(|account| account.charges == 1),
        "{accounts:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_charged_round_that_somebody_has_spoken_for_is_released_and_says_how_many_did() {
    let scene = Scene::while_releasing().await;
    let _back = scene.devices[0].connect().await;
    scene.operator.completed(&scene.run).await;
    let shown = scene.operator.show(&scene.run).await;
    assert_eq!(shown.rounds[0].reason, format!("1 {CAME_BACK}"));
    assert_eq!(scene.operator.models().await.len(), 2);
}
