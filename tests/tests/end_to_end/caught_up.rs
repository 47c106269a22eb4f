//! A data folder that was put back from a copy and has caught up with what it lost: the numbers and names of
//! its rounds and runs are those that devices know, and the rounds are others.

use std::path::PathBuf;

use crate::harness::hand::{Session, hands, update};
use crate::harness::process::Process;
use crate::harness::{Hand, Operator, Recipe, channel};
use crate::restored::{copy, halted, until_halted};

/// Devices of each half; those of one half make a round.
const HALF: usize = 4;

fn recipe(rounds: i64) -> Recipe {
    let recipe = Recipe::private().rounds(rounds, HALF as i64);
    // who is away is waited for as long
    recipe.set("rounds.deadline_ms", 4_000)
}

/// A folder and the devices that it knows. Those of the first half see what is lost.
struct Scene {
    _folder: tempfile::TempDir,
    data: PathBuf,
    process: Process,
    operator: Operator,
    devices: Vec<Hand>,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let process = Process::serve(&data, "127.0.0.1:0");
        let channel = channel(&process.endpoint()).await;
        let devices = hands(&channel, 2 * HALF).await;
        Self {
            operator: Operator::new(channel),
            devices: devices.into_iter().map(|(hand, _)| hand).collect(),
            _folder: folder,
            data,
            process,
        }
    }

    /// The same served again, after `between`.
    async fn again(self, between: impl FnOnce(&PathBuf)) -> Self {
        let address = self.process.kill();
        between(&self.data);
        let process = Process::serve(&self.data, &address);
        let channel = channel(&process.endpoint()).await;
        let devices = self.devices.iter().map(|hand| hand.over(&channel));
        Self {
            devices: devices.collect(),
            operator: Operator::new(channel),
            process,
            ..self
        }
    }

    async fn copied(self) -> Self {
        self.again(|data| copy(data, &data.with_file_name("copy")))
            .await
    }

    async fn put_back(self) -> Self {
        let put_back = |data: &PathBuf| {
            std::fs::rename(data, data.with_file_name("lost")).unwrap();
            std::fs::rename(data.with_file_name("copy"), data).unwrap();
        };
        self.again(put_back).await
    }

    fn half(&self, second: bool) -> &[Hand] {
        let (first, rest) = self.devices.split_at(HALF);
        if second { rest } else { first }
    }

    async fn connected(&self, second: bool) -> Vec<Session> {
        let mut sessions = Vec::new();
        for hand in self.half(second) {
            sessions.push(hand.connect().await);
        }
        sessions
    }

    /// Half of the devices answer a round.
    async fn answer(&self, second: bool, sessions: &mut [Session], round: u32) {
        for (hand, session) in self.half(second).iter().zip(sessions) {
            let mut order = session.assignment().await;
            while order.round < round {
                // one that was answered may be sent again to a device that has just come back
                order = session.assignment().await;
            }
            assert_eq!(order.round, round);
            hand.counted(&order, &update(round.into())).await;
        }
    }

    /// One that has seen what was lost comes back.
    async fn assert_that_one_of_the_first_half_halts_it(&self) {
        assert_eq!(halted(&self.operator).await, "", "nobody was back yet");
        let _back = self.devices[0].connect().await;
        let reason = until_halted(&self.operator).await;
        assert!(reason.contains("tributary restore"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_was_finished_by_others_does_not_hide_the_rounds_that_were_lost() {
    let scene = Scene::new().await;
    let run = scene.operator.start(&recipe(2)).await;
    let mut sessions = scene.connected(false).await;
    scene.answer(false, &mut sessions, 1).await;
    let scene = scene.copied().await;
    let mut sessions = scene.connected(false).await;
    scene.answer(false, &mut sessions, 2).await;
    scene.operator.completed(&run).await;
    let scene = scene.put_back().await;
    let mut sessions = scene.connected(true).await;
    scene.answer(true, &mut sessions, 2).await;
    scene.operator.completed(&run).await;
    scene.assert_that_one_of_the_first_half_halts_it().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_run_of_the_same_name_does_not_hide_the_one_that_was_lost() {
    let scene = Scene::new().await.copied().await;
    let mut sessions = scene.connected(false).await;
    let lost = scene.operator.start(&recipe(1)).await;
    scene.answer(false, &mut sessions, 1).await;
    scene.operator.completed(&lost).await;
    let scene = scene.put_back().await;
    let mut sessions = scene.connected(true).await;
    let run = scene.operator.start(&recipe(1)).await;
    assert_eq!(run, lost, "ids are taken anew");
    let listens = |shown: &_| {
        let reason = &crate::harness::operator::of(shown).reason;
        reason.contains("waits for its devices after the start")
    };
    scene.operator.until(&run, "that it listens", listens).await;
    scene.answer(true, &mut sessions, 1).await;
    scene.operator.completed(&run).await;
    scene.assert_that_one_of_the_first_half_halts_it().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_devices_know_of_runs_that_are_over_halts_no_folder_that_lost_nothing() {
    let scene = Scene::new().await;
    for _ in 0..2 {
        let run = scene.operator.start(&recipe(2)).await;
        let mut sessions = scene.connected(false).await;
        scene.answer(false, &mut sessions, 1).await;
        scene.answer(false, &mut sessions, 2).await;
        scene.operator.completed(&run).await;
    }
    let mut scene = scene.copied().await;
    for _ in 0..2 {
        let run = scene.operator.start(&recipe(2)).await;
        let mut sessions = scene.connected(false).await;
        scene.answer(false, &mut sessions, 1).await;
        scene = scene.again(|_| {}).await;
        let mut sessions = scene.connected(false).await;
        scene.answer(false, &mut sessions, 2).await;
        scene.operator.completed(&run).await;
        let _all = [scene.connected(false).await, scene.connected(true).await];
        assert_eq!(halted(&scene.operator).await, "");
    }
}
