//! Marks follow whatever devices take part in whose spending was lost with a data folder.

use std::sync::Arc;

use tempfile::TempDir;
use tributary_model::ModelFile;
use tributary_proto::v1::MoveDeviceRequest;

use crate::harness::hand::{Hand, hands, update};
use crate::harness::operator::of;
use crate::harness::{Coordinator, GLANCE, Operator, PATIENCE, Recipe, fleet};
use crate::marks::{from, play, version};

/// Devices of each of the two regions in a restored folder.
const EACH: usize = 6;

fn both_regions(coordinator: &Coordinator) -> tributary_device_sim::FleetHandle {
    let devices = ["eu", "us"].map(|region| fleet::devices(region, EACH));
    fleet::start(&coordinator.endpoint(), 2, devices.concat())
}

/// Crashes a coordinator and runs `tributary restore` on its folder, as after it was put back from a copy;
/// the folder, and what the command prints.
async fn restored(coordinator: Coordinator) -> (Arc<TempDir>, serde_json::Value) {
    let folder = coordinator.crash();
    // the coordinator lets go of it in a moment
    drop(crate::quarantine::store(&folder).await);
    let answer = crate::restored::restore(&folder.path().join("data"));
    (folder, answer)
}

/// One round of everybody, two windows in each region, and builds.
fn watched() -> Recipe {
    Recipe::private()
        .rounds(1, 2 * EACH as i64)
        .set("drift.interval_ms", 1)
        .set("drift.windows", 2)
        .set("drift.warm_up", 2)
        .set("drift.noise_votes", 0.5)
        .set("drift.minimum_devices", 1)
        .set("drift.max_invisible_psi", 1e6)
        .set("drift.quantities", crate::invariant_7::quantities())
        .set("builds.widths", vec![1.0])
        .set("builds.calibration_noise_votes", 0.5)
}

/// Waits until a run has two windows of each region, and each region's builds.
async fn windows_and_builds(operator: &Operator, run: &str, version: &str) -> Vec<Vec<String>> {
    let begun = std::time::Instant::now();
    loop {
        let builds = operator.try_model(version).await.unwrap().builds;
        let monitor = operator.monitor(run).await;
        let windows = monitor.map_or_else(Vec::new, |monitor| monitor.windows);
        if builds.len() == 2 && windows.len() == 4 {
            let of_builds = builds.into_iter().map(|build| build.marks);
            let of_windows = windows.into_iter().map(|window| window.marks);
            return of_builds.chain(of_windows).collect();
        }
        assert!(begun.elapsed() < PATIENCE, "{builds:?} {windows:?}");
        tokio::time::sleep(GLANCE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_devices_with_lost_spending_take_part_in_is_marked_wherever_it_goes() {
    let coordinator = Coordinator::start().await;
    let devices = both_regions(&coordinator);
    devices.wait_connected(2 * EACH).await;
    devices.shutdown().await;
    let (folder, answer) = restored(coordinator).await;
    assert_eq!(answer["devices_not_private"], 2 * EACH, "{answer}");
    let coordinator = Coordinator::open(folder, 2).await;
    let operator = coordinator.operator().await;
    let devices = both_regions(&coordinator);
    devices.wait_connected(2 * EACH).await;
    let run = operator.start(&watched()).await;
    let shown = operator.completed(&run).await;
    let digest = of(&shown).model_digest.clone();
    assert_eq!(of(&shown).marks, ["RESTORED"]);
    assert_eq!(version(&operator, &digest).await.marks, ["RESTORED"]);
    let listed = operator.models().await;
    let marks = |digest: &str| {
        let model = listed.iter().find(|model| model.digest == digest);
        model.unwrap().marks.clone()
    };
    assert_eq!(marks(&digest), ["RESTORED"]);
    let before = version(&operator, &digest).await.parent;
    assert!(marks(&before).is_empty(), "nothing was trained in it");
    let accounts = operator.privacy(&run).await.accounts;
    assert!(!accounts.is_empty());
    for account in accounts {
        assert_eq!(account.marks, ["RESTORED"]);
        assert!(account.spend.unwrap().not_private);
    }
    for marks in windows_and_builds(&operator, &run, &digest).await {
        assert_eq!(marks, ["RESTORED"]);
    }
    devices.shutdown().await;

    // elsewhere nobody knows of the loss but by the file, and what is trained on from it says so too
    let exported = operator.download(&digest, 0).await.unwrap();
    assert_eq!(
        ModelFile::marks_of(&exported).unwrap().names(),
        ["RESTORED"]
    );
    let elsewhere = Coordinator::start().await;
    let operator = elsewhere.operator().await;
    let imported = operator.import(exported).await.unwrap();
    assert_eq!(imported.marks, ["RESTORED"]);
    let mut devices = hands(&elsewhere.channel().await, 2).await;
    let private = Recipe::private().rounds(1, 2);
    let (_, marks) = play(&operator, &mut devices, &from(private, &digest)).await;
    assert_eq!(marks, ["RESTORED"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marked_device_that_comes_into_a_run_later_marks_it_from_then_on() {
    let coordinator = Coordinator::start().await;
    Hand::enrol(&coordinator.channel().await, "lost", "far").await;
    let (folder, _) = restored(coordinator).await;
    let coordinator = Coordinator::open(folder, 2).await;
    let operator = coordinator.operator().await;
    let channel = coordinator.channel().await;
    let mut devices = hands(&channel, 2).await;
    let run = operator.start(&Recipe::private().rounds(2, 2)).await;
    let mut orders = Vec::new();
    for (_, session) in &mut devices {
        orders.push(session.assignment().await);
    }
    // in the first round, after the start, a device comes into eu whose spending was lost
    let moved = MoveDeviceRequest {
        device_id: "lost".to_owned(),
        region: "eu".to_owned(),
    };
    operator.control.clone().move_device(moved).await.unwrap();
    let lost = Hand::enrol(&channel, "lost", "eu").await;
    let mut session = lost.connect().await;
    for (number, ((hand, _), order)) in devices.iter().zip(&orders).enumerate() {
        hand.counted(order, &update(number as u64)).await;
    }
    let first = operator
        .until(&run, "its first round", |shown| shown.rounds.len() == 1)
        .await;
    assert!(of(&first).marks.is_empty(), "{first:?}");
    let order = session.assignment().await;
    lost.counted(&order, &update(7)).await;
    let order = devices[1].1.assignment().await;
    devices[1].0.counted(&order, &update(8)).await;
    let shown = operator.completed(&run).await;
    assert_eq!(of(&shown).marks, ["RESTORED"]);
    assert!(of(&shown).privacy.as_ref().unwrap().not_private);
    let last = version(&operator, &of(&shown).model_digest).await;
    assert_eq!(last.marks, ["RESTORED"]);
    assert!(version(&operator, &last.parent).await.marks.is_empty());
    let exported = operator.download(&last.digest, 0).await.unwrap();
    assert_eq!(
        ModelFile::marks_of(&exported).unwrap().names(),
        ["RESTORED"]
    );
    let coordinator = coordinator.crash_and_restart().await;
    let operator = coordinator.operator().await;
    assert_eq!(of(&operator.show(&run).await).marks, ["RESTORED"]);
}
