//! What receipts prove of runs that ended before their time, or whose records are gone: a loss where there was
//! one, and nothing against a folder that lost nothing.

use std::path::{Path, PathBuf};

use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::{AssignmentAbandoned, DropReason};

use crate::harness::hand::{Session, hands, update};
use crate::harness::process::Process;
use crate::harness::{Hand, Operator, Recipe, channel};
use crate::restored::{copy, halted, until_halted};

const DEVICES: usize = 4;

/// All four devices are asked, three are enough.
fn recipe(rounds: i64) -> Recipe {
    let recipe = Recipe::private().rounds(rounds, DEVICES as i64);
    recipe.set("rounds.minimum", 3)
}

/// A folder that is served, and the devices that it knows.
struct Scene {
    _folder: tempfile::TempDir,
    data: PathBuf,
    process: Process,
    operator: Operator,
    devices: Vec<Hand>,
    sessions: Vec<Session>,
}

impl Scene {
    async fn of(devices: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let process = Process::serve(&data, "127.0.0.1:0");
        let channel = channel(&process.endpoint()).await;
        let (devices, sessions) = hands(&channel, devices).await.into_iter().unzip();
        Self {
            operator: Operator::new(channel),
            _folder: folder,
            data,
            process,
            devices,
            sessions,
        }
    }

    /// The same served again, after `between`; nobody is back yet.
    async fn again(self, between: impl FnOnce(&Path)) -> Self {
        let address = self.process.kill();
        between(&self.data);
        let process = Process::serve(&self.data, &address);
        let channel = channel(&process.endpoint()).await;
        let devices = self.devices.iter().map(|hand| hand.over(&channel));
        Self {
            devices: devices.collect(),
            sessions: Vec::new(),
            operator: Operator::new(channel),
            process,
            ..self
        }
    }

    async fn copied(self) -> Self {
        let mut scene = self
            .again(|data| copy(data, &data.with_file_name("copy")))
            .await;
        for hand in &scene.devices {
            scene.sessions.push(hand.connect().await);
        }
        scene
    }

    async fn put_back(self) -> Self {
        let put_back = |data: &Path| {
            std::fs::rename(data, data.with_file_name("lost")).unwrap();
            std::fs::rename(data.with_file_name("copy"), data).unwrap();
        };
        self.again(put_back).await
    }

    /// These devices answer an attempt, and the others give it back before they look at any data.
    async fn answer(&mut self, attempt: (u32, u32), numbers: &[usize]) {
        for (number, session) in self.sessions.iter_mut().enumerate() {
            let mut order = session.assignment().await;
            while (order.round, order.attempt) < attempt {
                // one that was answered may be sent again to a device that has just come back
                order = session.assignment().await;
            }
            assert_eq!((order.round, order.attempt), attempt);
            if numbers.contains(&number) {
                let hand = &self.devices[number];
                hand.counted(&order, &update(number as u64)).await;
                continue;
            }
            let abandoned = AssignmentAbandoned {
                run_id: order.run_id,
                round: order.round,
                reason: "battery".to_owned(),
                kind: DropReason::Battery.into(),
                detail: String::new(),
            };
            session.tell(Event::AssignmentAbandoned(abandoned)).await;
        }
    }

    async fn assert_that_it_is_recognised(&self, by: usize) {
        assert_eq!(halted(&self.operator).await, "", "nobody was back yet");
        let _back = self.devices[by].connect().await;
        let reason = until_halted(&self.operator).await;
        assert!(reason.contains("tributary restore"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_update_in_the_open_buffer_of_a_run_that_is_stopped_halts_nothing() {
    let mut scene = Scene::of(3).await;
    let recipe = Recipe::private().rounds(6, 2);
    let recipe = recipe.set("rounds.over_selection", 1.5);
    let run = scene
        .operator
        .start(&recipe.set("rounds.staleness_cap", 3))
        .await;
    let late = scene.sessions[2].assignment().await;
    for round in 1..=3 {
        for (number, hand) in scene.devices.iter().take(2).enumerate() {
            let order = scene.sessions[number].assignment().await;
            assert_eq!(order.round, round);
            if round < 3 {
                hand.counted(&order, &update(number as u64)).await;
            }
        }
    }
    // its order is of round 1, the buffer that is open is the third
    scene.devices[2].counted(&late, &update(2)).await;
    scene.operator.stop(&run).await.unwrap();
    let _back = scene.devices[2].connect().await;
    assert_eq!(halted(&scene.operator).await, "");
    let scene = scene.again(|_| {}).await;
    for hand in &scene.devices {
        let _back = hand.connect().await;
    }
    assert_eq!(halted(&scene.operator).await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_in_an_attempt_that_was_given_up_still_proves_the_next_one_that_was_lost() {
    let mut scene = Scene::of(DEVICES).await;
    let run = scene.operator.start(&recipe(1)).await;
    scene.answer((1, 1), &[0, 1]).await;
    for session in &mut scene.sessions {
        assert_eq!(session.assignment().await.attempt, 2);
    }
    let mut scene = scene.copied().await;
    scene.answer((1, 2), &[0, 1, 2]).await;
    scene.operator.completed(&run).await;
    let scene = scene.put_back().await;
    scene.operator.stop(&run).await.unwrap();
    scene.assert_that_it_is_recognised(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_last_round_that_was_open_in_the_copy_and_is_stopped_there_does_not_hide_its_release() {
    let mut scene = Scene::of(DEVICES).await;
    let run = scene.operator.start(&recipe(1)).await;
    for session in &mut scene.sessions {
        session.assignment().await;
    }
    let mut scene = scene.copied().await;
    scene.answer((1, 1), &[0, 1, 2, 3]).await;
    scene.operator.completed(&run).await;
    let scene = scene.put_back().await;
    scene.operator.stop(&run).await.unwrap();
    scene.assert_that_it_is_recognised(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_was_put_back_without_its_records_is_compared_with_what_the_ledger_charged() {
    for (rounds, is_recognised) in [(2, true), (1, false)] {
        let mut scene = Scene::of(DEVICES).await;
        let run = scene.operator.start(&recipe(rounds)).await;
        for session in &mut scene.sessions {
            session.assignment().await;
        }
        let mut scene = scene.copied().await;
        for round in 1..=rounds {
            scene.answer((round as u32, 1), &[0, 1, 2, 3]).await;
        }
        scene.operator.completed(&run).await;
        let vault = scene.data.with_file_name("copy").join("vault");
        std::fs::remove_dir_all(&vault).unwrap();
        let scene = scene.put_back().await;
        if is_recognised {
            scene.assert_that_it_is_recognised(0).await;
        } else {
            // a receipt of the round that was open may be of an attempt that was given up
            let _back = scene.devices[0].connect().await;
            assert_eq!(halted(&scene.operator).await, "");
        }
    }
}
