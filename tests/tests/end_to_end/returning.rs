//! Who comes back after a start decides when a run goes on: not one device, nor any that show nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tributary_coordinator::epoch::LISTEN;
use tributary_coordinator::failpoint::Place;
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::{AssignmentAbandoned, DropReason, OrderRefused};

use crate::harness::failing::Failing;
use crate::harness::hand::{Session, hands, update};
use crate::harness::operator::of;
use crate::harness::process::Process;
use crate::harness::{Coordinator, Hand, Operator, Recipe, channel};
use crate::restored::{copy, until_halted};

/// All five are asked, four are enough, and after a start two have to be heard.
fn recipe(rounds: i64) -> Recipe {
    let recipe = Recipe::private().rounds(rounds, 5);
    recipe.set("rounds.minimum", 4)
}

async fn operator(process: &Process) -> Operator {
    Operator::new(channel(&process.endpoint()).await)
}

/// Gives an assignment back before it looks at any data.
async fn give_back(session: &mut Session) {
    let order = session.assignment().await;
    let abandoned = AssignmentAbandoned {
        run_id: order.run_id,
        round: order.round,
        reason: "battery".to_owned(),
        kind: DropReason::Battery.into(),
        detail: String::new(),
    };
    session.tell(Event::AssignmentAbandoned(abandoned)).await;
}

/// Waits until the run says that so many devices are heard.
async fn until_heard(operator: &Operator, run: &str, heard: &str) {
    let says = |shown: &_| of(shown).reason.contains(heard);
    operator.until(run, heard, says).await;
}

/// A folder of a run whose first round has four of five answers, and the devices.
struct Scene {
    _folder: tempfile::TempDir,
    data: PathBuf,
    process: Process,
    devices: Vec<Hand>,
    run: String,
}

impl Scene {
    async fn in_the_first_round() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let process = Process::serve(&data, "127.0.0.1:0");
        let mut devices = hands(&channel(&process.endpoint()).await, 5).await;
        let run = operator(&process).await.start(&recipe(2)).await;
        for (number, (hand, session)) in (0..).zip(devices.iter_mut().take(4)) {
            let order = session.assignment().await;
            hand.counted(&order, &update(number)).await;
        }
        devices[4].1.assignment().await;
        Self {
            _folder: folder,
            data,
            process,
            devices: devices.into_iter().map(|(hand, _)| hand).collect(),
            run,
        }
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.data.with_file_name(name)
    }

    /// Keeps a copy of the folder as it is, and goes on serving.
    async fn keep_copy(mut self) -> Self {
        let beside = self.beside("copy");
        let address = self.process.kill();
        copy(&self.data, &beside);
        self.process = Process::serve(&self.data, &address);
        self.follow().await
    }

    /// Serves the copy.
    async fn put_back(mut self) -> Self {
        let (lost, back) = (self.beside("lost"), self.beside("copy"));
        let address = self.process.kill();
        std::fs::rename(&self.data, lost).unwrap();
        std::fs::rename(back, &self.data).unwrap();
        self.process = Process::serve(&self.data, &address);
        self.follow().await
    }

    async fn follow(self) -> Self {
        let channel = channel(&self.process.endpoint()).await;
        let devices = self.devices.iter().map(|hand| hand.over(&channel));
        Self {
            devices: devices.collect(),
            ..self
        }
    }

    /// The fifth device answers the first round, and all of them the second.
    async fn finish(&self) {
        let mut sessions = Vec::new();
        for hand in &self.devices {
            sessions.push(hand.connect().await);
        }
        let order = sessions[4].assignment().await;
        self.devices[4].counted(&order, &update(4)).await;
        for (number, session) in (0..).zip(&mut sessions) {
            let order = session.assignment().await;
            assert_eq!(order.round, 2);
            self.devices[number].counted(&order, &update(9)).await;
        }
        operator(&self.process).await.completed(&self.run).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_that_show_nothing_of_what_they_answered_end_no_wait_and_one_that_does_is_heard() {
    let scene = Scene::in_the_first_round().await.keep_copy().await;
    scene.finish().await;
    let scene = scene.put_back().await;
    let operator = operator(&scene.process).await;
    // the fifth is not known to have answered and gives back, so that the round could close
    let mut fifth = scene.devices[4].forgetful().connect().await;
    give_back(&mut fifth).await;
    let _silent = [
        scene.devices[0].forgetful().connect().await,
        scene.devices[1].forgetful().connect().await,
    ];
    let heard = "round 1 waits for its devices after the start: 1 of 2 are heard";
    until_heard(&operator, &scene.run, heard).await;
    tokio::time::sleep(LISTEN + Duration::from_secs(2)).await;
    until_heard(&operator, &scene.run, heard).await;
    let accounts = operator.privacy(&scene.run).await.accounts;
    assert!(
        accounts.iter().all(|account| account.charges == 0),
        "something was charged: {accounts:?}"
    );
    assert_eq!(operator.models().await.len(), 1, "something was released");
    let _session = scene.devices[2].connect().await;
    let reason = until_halted(&operator).await;
    assert!(reason.contains("round 2"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_that_shows_a_receipt_which_the_folder_does_not_know_stops_everything() {
    let scene = Scene::in_the_first_round().await.keep_copy().await;
    let mut session = scene.devices[4].connect().await;
    let order = session.assignment().await;
    let lost = scene.devices[4].counted(&order, &update(4)).await.ticket;
    let scene = scene.put_back().await;
    let operator = operator(&scene.process).await;
    let mut session = scene.devices[4].forgetful().connect().await;
    session.assignment().await;
    let refused = OrderRefused { newest: lost };
    session.tell(Event::OrderRefused(refused)).await;
    let reason = until_halted(&operator).await;
    assert!(reason.contains("was counted in round 1"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_of_the_runs_task_does_not_end_the_wait_for_its_devices() {
    let coordinator = Coordinator::start().await;
    let mut devices = hands(&coordinator.channel().await, 5).await;
    let run = coordinator.operator().await.start(&recipe(1)).await;
    for (number, (hand, session)) in (0..).zip(devices.iter_mut().take(4)) {
        let order = session.assignment().await;
        hand.counted(&order, &update(number)).await;
    }
    let failing = Arc::new(Failing::default());
    let failpoint = failing.clone();
    let coordinator = coordinator
        .crash_and_restart_with(|config| config.failpoint = failpoint.clone())
        .await;
    let (operator, channel) = (coordinator.operator().await, coordinator.channel().await);
    let mut sessions = Vec::new();
    for (hand, _) in &devices {
        sessions.push(hand.over(&channel).forgetful().connect().await);
    }
    until_heard(&operator, &run, "1 of 2 are heard").await;
    failing.arm(Place::Tick, &run, 1);
    let given_up = |shown: &tributary_proto::v1::GetRunResponse| shown.rounds.len() == 1;
    operator.until(&run, "the attempt's end", given_up).await;
    until_heard(&operator, &run, "1 of 2 are heard").await;
    sessions[4].assignment().await;
    for session in &mut sessions {
        assert!(session.is_silent().await, "somebody was selected");
    }
    // all of them with what they keep
    for (number, (hand, _)) in (0..).zip(&devices) {
        let hand = hand.over(&channel);
        sessions[number] = hand.connect().await;
    }
    for (number, session) in (0..).zip(&mut sessions) {
        let order = session.assignment().await;
        assert_eq!(order.attempt, 2);
        let hand = devices[number].0.over(&channel);
        hand.counted(&order, &update(number as u64)).await;
    }
    operator.completed(&run).await;
}
