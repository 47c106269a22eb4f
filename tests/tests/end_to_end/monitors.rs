//! Monitors have an end, ask only what can be judged, and hold a bounded past.

use tonic::Code;
use tributary_proto::v1::{
    GetDriftRequest, Monitor, MonitorState, StartRunRequest, StopMonitorRequest,
};

use crate::harness::operator::{assert_refusal, of};
use crate::harness::{Coordinator, GLANCE, Operator, PATIENCE, Recipe, fleet};

/// Noised votes of few devices: windows that 20 devices of a region can judge.
pub fn recipe() -> Recipe {
    Recipe::private()
        .rounds(2, 4)
        .set("drift.interval_ms", 1)
        .set("drift.warm_up", 2)
        .set("drift.noise_votes", 0.5)
        .set("drift.minimum_devices", 20)
        .set("drift.max_invisible_psi", 1000.0)
        .set("drift.quantities", crate::invariant_7::quantities())
}

pub async fn stop(operator: &Operator, name: &str) -> Result<Monitor, tonic::Status> {
    let request = StopMonitorRequest {
        monitor_id: name.to_owned(),
    };
    let stopped = operator.control.clone().stop_monitor(request).await?;
    Ok(stopped.into_inner().monitor.unwrap())
}

async fn page(operator: &Operator, run: &str, rows: u32, before: u64) -> Monitor {
    let request = GetDriftRequest {
        run_id: run.to_owned(),
        windows: Some(rows),
        before_window: before,
    };
    let answer = operator.control.clone().get_drift(request).await.unwrap();
    answer.into_inner().monitors.remove(0)
}

/// Waits until a run's monitor is as wanted.
pub async fn until(
    operator: &Operator,
    run: &str,
    what: &str,
    wanted: impl Fn(&Monitor) -> bool,
) -> Monitor {
    let begun = std::time::Instant::now();
    loop {
        let monitor = operator.monitor(run).await;
        if let Some(monitor) = monitor.as_ref().filter(|monitor| wanted(monitor)) {
            return monitor.clone();
        }
        let waited = begun.elapsed();
        assert!(waited < PATIENCE, "waited in vain for {what}: {monitor:#?}");
        tokio::time::sleep(GLANCE).await;
    }
}

fn of_region<'m>(monitor: &'m Monitor, region: &str) -> &'m tributary_proto::v1::RegionVerdict {
    let mut regions = monitor.regions.iter();
    regions.find(|verdict| verdict.region == region).unwrap()
}

/// Charges of drift windows so far.
async fn charges(operator: &Operator, region: &str) -> f64 {
    let privacy = operator.privacy("").await;
    let drift = privacy
        .accounts
        .iter()
        .find(|account| account.kind == "drift");
    let region = drift.and_then(|drift| drift.regions.iter().find(|at| at.region == region));
    region.map_or(0.0, |at| at.spend.as_ref().unwrap().rho)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_without_devices_asks_and_stores_nothing_and_ends_when_it_is_stopped() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let devices = [fleet::devices("eu", 20), fleet::devices("us", 20)].concat();
    let running = fleet::start(&coordinator.endpoint(), 2, devices);
    running.wait_connected(40).await;
    let run = operator.start(&recipe()).await;
    operator.completed(&run).await;
    until(&operator, &run, "a few windows", |m| m.windows_asked >= 3).await;
    running.shutdown().await;
    let silent = until(&operator, &run, "nobody to ask", |monitor| {
        monitor.regions.iter().all(|region| !region.note.is_empty())
    });
    let silent = silent.await;
    assert!(
        silent.reason.contains("enough devices"),
        "{}",
        silent.reason
    );
    for region in ["eu", "us"] {
        let verdict = of_region(&silent, region);
        assert_eq!(verdict.verdict, "insufficient-data", "{verdict:?}");
        assert_eq!(verdict.devices_needed, 20, "{verdict:?}");
        assert!(verdict.note.contains("needs 20"), "{verdict:?}");
    }
    // an interval of a millisecond would be hundreds of windows
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    let later = operator.monitor(&run).await.unwrap();
    assert_eq!(later.windows_asked, silent.windows_asked);
    assert_eq!(later.windows.len(), silent.windows.len());

    // stopping the run says what there is to stop
    let told = operator.stop(&run).await.unwrap_err();
    let words = ["completed", "tributary monitor stop"];
    assert_refusal(&told, Code::FailedPrecondition, "TRB-0300", &words);
    let told = operator.stop(&later.monitor_id).await.unwrap_err();
    assert_refusal(&told, Code::FailedPrecondition, "TRB-0300", &words[1..]);
    let told = stop(&operator, "nobody-1").await.unwrap_err();
    assert_refusal(&told, Code::NotFound, "TRB-0200", &["tributary monitor ls"]);

    let stopped = stop(&operator, &run).await.unwrap();
    assert_eq!(stopped.state(), MonitorState::Stopped);
    let again = stop(&operator, &later.monitor_id).await.unwrap();
    assert_eq!(again.state(), MonitorState::Stopped, "twice is fine");

    // it is over for good, and what it judged is still there
    let coordinator = coordinator.crash_and_restart().await;
    let operator = coordinator.operator().await;
    let kept = operator.monitor(&run).await.unwrap();
    assert_eq!(kept.state(), MonitorState::Stopped);
    assert_eq!(kept.windows, later.windows);
    let told = operator.stop(&run).await.unwrap_err();
    assert_refusal(
        &told,
        Code::FailedPrecondition,
        "TRB-0300",
        &["nothing left"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_that_can_not_be_judged_are_neither_asked_nor_noised_nor_charged() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let start = |devices| fleet::start(&coordinator.endpoint(), 2, devices);
    let (east, west) = (
        start(fleet::devices("eu", 20)),
        start(fleet::devices("us", 20)),
    );
    east.wait_connected(20).await;
    west.wait_connected(20).await;
    let run = operator.start(&recipe()).await;
    operator.completed(&run).await;
    until(&operator, &run, "windows", |m| m.windows_asked >= 3).await;
    // all but a few of us go away
    west.shutdown().await;
    let few = start(fleet::devices("us", 8));
    few.wait_connected(8).await;
    let short = until(&operator, &run, "a shortage in us", |monitor| {
        of_region(monitor, "us").note.contains("needs 20")
    });
    let short = short.await;
    let (us, eu) = (
        charges(&operator, "us").await,
        charges(&operator, "eu").await,
    );
    assert!(us > 0.0);
    let wanted = short.windows_asked + 5;
    let later = until(&operator, &run, "more windows of eu", |m| {
        m.windows_asked >= wanted
    })
    .await;
    assert_eq!(
        charges(&operator, "us").await,
        us,
        "nothing more was charged in us"
    );
    assert!(charges(&operator, "eu").await > eu, "eu goes on");
    let charged = |window: &&tributary_proto::v1::DriftWindow| window.devices < 20;
    let unjudged = later.windows.iter().filter(charged);
    assert!(
        unjudged.clone().all(|window| window.rho == 0.0),
        "{later:?}"
    );
    assert_eq!(of_region(&later, "us").verdict, "insufficient-data");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_ends_after_its_windows_leaves_memory_and_is_read_page_by_page() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let devices = [fleet::devices("eu", 20), fleet::devices("us", 20)].concat();
    let running = fleet::start(&coordinator.endpoint(), 2, devices);
    running.wait_connected(40).await;
    let run = operator.start(&recipe().set("drift.windows", 7)).await;
    let ended = until(&operator, &run, "the end", |monitor| {
        monitor.state() == MonitorState::Completed
    });
    let ended = ended.await;
    assert_eq!((ended.windows_asked, ended.windows_planned), (7, 7));
    assert_eq!(ended.windows.len(), 14);
    assert!(!ended.earlier_windows);
    let newest = page(&operator, &run, 4, 0).await;
    let numbers = |monitor: &Monitor| -> Vec<u64> {
        monitor.windows.iter().map(|window| window.window).collect()
    };
    assert_eq!(numbers(&newest), [6, 6, 7, 7]);
    assert!(newest.earlier_windows);
    let older = page(&operator, &run, 5, 6).await;
    assert_eq!(numbers(&older), [4, 4, 5, 5], "no window is split");
    let rest = page(&operator, &run, 100, 4).await;
    assert_eq!(numbers(&rest), [1, 1, 2, 2, 3, 3]);
    assert!(!rest.earlier_windows);
    let none = page(&operator, &run, 0, 0).await;
    assert!(none.windows.is_empty() && none.earlier_windows);
    // a finished monitor answers from the disk, also after a restart
    let coordinator = coordinator.crash_and_restart().await;
    let kept = coordinator.operator().await.monitor(&run).await.unwrap();
    assert_eq!(kept, ended);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn builds_without_a_playbook_are_made_of_the_last_model_for_every_region() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let devices = [fleet::devices("eu", 20), fleet::devices("us", 20)].concat();
    let running = fleet::start(&coordinator.endpoint(), 2, devices);
    running.wait_connected(40).await;
    let recipe = Recipe::private()
        .rounds(2, 4)
        .set("builds.calibration_noise_votes", 0.5);
    let run = operator.start(&recipe).await;
    let model = of(&operator.completed(&run).await).model_digest.clone();
    let ended = until(&operator, &run, "the builds", |monitor| {
        monitor.state() == MonitorState::Completed
    });
    let ended = ended.await;
    assert_eq!((ended.reason.as_str(), ended.windows_asked), ("", 0));
    let builds = operator.try_model(&model).await.unwrap().builds;
    let installed: Vec<_> = builds
        .iter()
        .map(|build| (build.region.as_str(), build.installed_on, build.offered_to))
        .collect();
    assert_eq!(installed, [("eu", 20, 20), ("us", 20, 20)]);
    let privacy = operator.privacy("").await;
    let calibration = privacy
        .accounts
        .iter()
        .find(|account| account.kind == "calibration");
    assert_eq!(calibration.unwrap().charges, 2, "one for each region");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_or_a_region_that_nobody_has_is_named_at_the_start_and_while_it_waits() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let start = async |recipe: Recipe| {
        let request = StartRunRequest {
            recipe: recipe.text(),
            idempotency_key: String::new(),
            allow_no_privacy: String::new(),
        };
        let answer = operator.control.clone().start_run(request).await;
        answer.unwrap().into_inner()
    };
    let nobody = start(Recipe::new()).await;
    assert!(
        nobody.warnings[0].contains("no device is enrolled"),
        "{nobody:?}"
    );
    let running = fleet::start(&coordinator.endpoint(), 1, fleet::devices("eu", 2));
    running.wait_connected(2).await;
    let elsewhere = start(Recipe::new().set("regions", vec!["eu", "ue"])).await;
    let [warning] = &elsewhere.warnings[..] else {
        panic!("{elsewhere:?}")
    };
    assert!(
        warning.contains("\"ue\"") && warning.contains("eu"),
        "{warning}"
    );
    assert_eq!(
        of(&operator.show(&elsewhere.run_id).await).warnings,
        elsewhere.warnings
    );
    let other = start(Recipe::new().set("task", "wacth")).await;
    assert!(
        other.warnings[0].contains("wacth") && other.warnings[0].contains("tiny"),
        "{other:?}"
    );
    let fine = start(Recipe::new().set("regions", vec!["eu"])).await;
    assert_eq!(fine.warnings, Vec::<String>::new());
    let version = of(&operator.show(&fine.run_id).await).model_digest.clone();
    // the twelve characters that `model ls` prints name a version
    let from = Recipe::new()
        .set("regions", vec!["eu"])
        .set("model", toml::Table::new());
    let from = from.set("model.version", version[..12].to_owned());
    let from = operator.start(&from).await;
    assert_eq!(of(&operator.show(&from).await).model_digest, version);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_between_a_retraining_and_its_calibration_neither_fails_nor_retrains() {
    use crate::drift_loop::{DEVICES, INJECTED};
    let coordinator = Coordinator::start().await;
    let fleets = |coordinator: &Coordinator, more: usize| {
        let west = fleet::devices("us", DEVICES + more);
        let devices = [fleet::devices("eu", DEVICES), west].concat();
        let running = fleet::start(&coordinator.endpoint(), 2, devices);
        running.inject(tributary_device_sim::DriftInjection {
            region: "us".parse().unwrap(),
            from_window: INJECTED,
        });
        running
    };
    let operator = coordinator.operator().await;
    let before = fleets(&coordinator, 0);
    before.wait_connected(2 * DEVICES).await;
    // more noise than the 51 devices of us can bear: the calibration waits for more of them
    let recipe = crate::drift_loop::recipe().set("builds.calibration_noise_votes", 5.0);
    let run = operator.start(&recipe).await;
    let waiting = until(&operator, &run, "a mitigation", |monitor| {
        !of_region(monitor, "us").mitigation_run_id.is_empty()
    });
    let retraining = of_region(&waiting.await, "us").mitigation_run_id.clone();
    let mended = of(&operator.completed(&retraining).await)
        .model_digest
        .clone();
    let coordinator = coordinator.crash_and_restart().await;
    let operator = coordinator.operator().await;
    drop(before);
    // they come back one after the other, and some come for the first time
    let after = fleets(&coordinator, 20);
    after.wait_connected(2 * DEVICES + 20).await;
    until(&operator, &run, "a validated mitigation", |monitor| {
        let mut windows = monitor.windows.iter();
        windows.any(|window| window.playbook == "validated")
    })
    .await;
    let runs = operator.runs().await;
    let retrainings = runs.iter().filter(|run| !run.drift_id.is_empty());
    assert_eq!(retrainings.count(), 1, "it is not trained twice: {runs:?}");
    let builds = operator.try_model(&mended).await.unwrap().builds;
    let offered: u64 = builds.iter().map(|build| build.offered_to).sum();
    assert!(offered >= 60, "{builds:?}");
    let privacy = operator.privacy("").await;
    let calibration = privacy
        .accounts
        .iter()
        .find(|account| account.kind == "calibration");
    assert_eq!(calibration.unwrap().charges, 1);
}
