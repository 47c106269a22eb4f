//! A crash of a monitor's task or of its playbook stays in it, is seen, and the monitor can be stopped.

use std::sync::Arc;

use tributary_coordinator::failpoint::Place;
use tributary_device_sim::{DriftInjection, FleetHandle};
use tributary_proto::v1::MonitorState;

use crate::harness::failing::Failing;
use crate::harness::{Coordinator, GLANCE, Operator, PATIENCE, fleet};
use crate::monitors::{recipe, stop, until};

/// A monitor at work, with places where it can be made to fail.
async fn at_work() -> (Coordinator, Arc<Failing>, Operator, FleetHandle, String) {
    let failing = Arc::new(Failing::default());
    let failpoint = failing.clone();
    let coordinator = Coordinator::start_with(|config| config.failpoint = failpoint).await;
    let operator = coordinator.operator().await;
    let devices = [fleet::devices("eu", 20), fleet::devices("us", 20)].concat();
    let running = fleet::start(&coordinator.endpoint(), 2, devices);
    running.wait_connected(40).await;
    let run = operator.start(&recipe()).await;
    operator.completed(&run).await;
    until(&operator, &run, "windows", |m| m.windows_asked >= 3).await;
    (coordinator, failing, operator, running, run)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_a_monitors_task_stays_in_it_and_it_goes_on_from_what_is_on_disk() {
    let (coordinator, failing, operator, _devices, run) = at_work().await;
    failing.arm(Place::Watching, &run, 2);
    let begun = std::time::Instant::now();
    while !failing.is_spent() {
        assert!(begun.elapsed() < PATIENCE, "the failpoint is not reached");
        tokio::time::sleep(GLANCE).await;
    }
    let asked = operator.monitor(&run).await.unwrap().windows_asked;
    let later = until(&operator, &run, "more windows", |m| {
        m.windows_asked >= asked + 3
    })
    .await;
    assert_eq!(
        (later.state(), later.reason.as_str()),
        (MonitorState::Running, "")
    );
    // no number is given twice, and none is charged twice
    let mut numbers: Vec<_> = later
        .windows
        .iter()
        .map(|at| (at.window, &at.region))
        .collect();
    let all = numbers.len();
    numbers.dedup();
    assert_eq!(numbers.len(), all);
    let page = coordinator.admin_page("/readyz").await;
    assert!(!page.contains("monitor"), "{page}");
    let stopped = stop(&operator, &run).await.unwrap();
    assert_eq!(stopped.state(), MonitorState::Stopped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_that_crashes_again_and_again_is_shown_set_aside_and_can_be_stopped() {
    let (coordinator, failing, operator, _devices, run) = at_work().await;
    failing.arm(Place::Watching, &run, u32::MAX);
    // first it is shown as one that tries again
    let begun = std::time::Instant::now();
    let amiss = format!("monitor {run}-drift: it can't go on");
    while !coordinator.admin_page("/readyz").await.contains(&amiss) {
        assert!(begun.elapsed() < PATIENCE, "nothing is said of it");
        tokio::time::sleep(GLANCE).await;
    }
    let aside = until(&operator, &run, "its being set aside", |monitor| {
        monitor.state() == MonitorState::Quarantined
    });
    let aside = aside.await;
    assert!(aside.reason.contains("[TRB-0610]"), "{}", aside.reason);
    let page = coordinator.admin_page("/readyz").await;
    let named = format!("quarantined monitor {run}-drift: ");
    assert!(page.contains(&named) && !page.contains(&amiss), "{page}");
    let stopped = stop(&operator, &run).await.unwrap();
    assert_eq!(stopped.state(), MonitorState::Stopped);
    let page = coordinator.admin_page("/readyz").await;
    assert!(!page.contains("quarantined"), "{page}");
    // also after a restart, where nothing lets it fail
    let coordinator = coordinator.crash_and_restart().await;
    let kept = coordinator.operator().await.monitor(&run).await.unwrap();
    assert_eq!(kept.state(), MonitorState::Stopped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_that_crashes_is_stopped_at_once_when_an_operator_asks_for_it() {
    let (_coordinator, failing, operator, _devices, run) = at_work().await;
    failing.arm(Place::Watching, &run, u32::MAX);
    let crashed = until(&operator, &run, "a crash", |m| {
        m.reason.contains("[TRB-0610]")
    });
    crashed.await;
    let stopped = stop(&operator, &run).await.unwrap();
    assert_eq!(stopped.state(), MonitorState::Stopped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_a_playbook_fails_its_mitigation_and_the_region_is_watched_on() {
    use crate::drift_loop::{DEVICES, INJECTED};
    let failing = Arc::new(Failing::default());
    let failpoint = failing.clone();
    let coordinator = Coordinator::start_with(|config| config.failpoint = failpoint).await;
    let operator = coordinator.operator().await;
    failing.arm(Place::Mitigating, "tiny-1", u32::MAX);
    let devices = [fleet::devices("eu", DEVICES), fleet::devices("us", DEVICES)].concat();
    let running = fleet::start(&coordinator.endpoint(), 2, devices);
    running.inject(DriftInjection {
        region: "us".parse().unwrap(),
        from_window: INJECTED,
    });
    running.wait_connected(2 * DEVICES).await;
    let run = operator.start(&crate::drift_loop::recipe()).await;
    assert_eq!(run, "tiny-1");
    operator.completed(&run).await;
    // a region that stayed "mitigating" would have no more windows, and the monitor no end
    let ended = until(&operator, &run, "the end", |monitor| {
        monitor.state() == MonitorState::Completed
    });
    let ended = ended.await;
    let us = ended.windows.iter().filter(|window| window.region == "us");
    let playbooks: Vec<&str> = us.map(|window| window.playbook.as_str()).collect();
    assert!(
        playbooks
            .iter()
            .any(|name| name.ends_with("-region") && !name.starts_with("advice")),
        "{playbooks:?}"
    );
    assert!(
        ended
            .regions
            .iter()
            .all(|region| region.verdict != "mitigating"),
        "{ended:?}"
    );
    let runs = operator.runs().await;
    assert!(
        runs.iter().all(|run| run.drift_id.is_empty()),
        "none was started: {runs:?}"
    );
}
