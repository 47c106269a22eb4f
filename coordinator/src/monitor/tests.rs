//! A monitor as a whole, with devices that vote: over a full disk, after a restore, when it is stopped in the
//! middle of a playbook, and when it can't be started.

mod put_back;
mod stopped;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tributary_model::{Marks, ModelFile, initialise};
use tributary_proto::v1::{
    DeviceProfile, DriftWindow, MonitorState, SummaryReport, SummaryRequest, Vote, directive,
};

use tributary_model::Digest;
use tributary_proto::v1;
use tributary_proto::{MonitorId, RunId};

use super::after_run::start_monitor;
use super::launch::start;
use super::*;
use crate::coordinator::Coordinator;
use crate::engine::{RunState, RunStatus};
use crate::fixtures::{Flaky, coordinator_on, device, region, spec, state};
use crate::ledger::{Change, ChargeKind, Part, Reservation};
use crate::registry::ModelRecord;
use crate::run::create_journal;
use tributary_recipe::{ModelSource, RunSpec};
use tributary_store::{
    Batch, CommitFuture, Expect, MemoryStore, Operation, Row, Store, StoreError, Table, Versioned,
};

const DEVICES: usize = 40;
const GLANCE: Duration = Duration::from_millis(10);

/// Windows of one region that its devices can judge, 50 a second.
fn watched() -> RunSpec {
    let mut spec = spec();
    spec.regions = vec![region("eu")];
    (spec.playbook, spec.builds) = (None, None);
    spec.privacy.epsilon = None;
    let drift = spec.drift.as_mut().unwrap();
    drift.interval_ms = 20;
    drift.noise_votes = 0.5;
    drift.minimum_devices = 10;
    drift.max_invisible_psi = 1_000.0;
    drift.warm_up = 2;
    spec
}

/// A run of this recipe that has completed, and its model, in a coordinator that serves.
async fn completed(served: &Arc<Coordinator>, spec: RunSpec) -> RunState {
    served.core.telemetry.health.set_ready(true);
    let mut run = state(spec);
    let mut batch = Batch::new();
    run.model = register(served, &run.spec, &mut batch).await;
    served.core.store.commit(batch).await.unwrap();
    run.status = RunStatus::Completed;
    create_journal(&served.core, &mut run).await.unwrap();
    served.runs.catalogue.over(run.id.clone(), 1, 1e-5);
    run
}

async fn register(served: &Coordinator, spec: &RunSpec, batch: &mut Batch) -> Digest {
    let ModelSource::Architecture(architecture) = &spec.model else {
        panic!("{:?}", spec.model)
    };
    let file = ModelFile {
        weights: initialise(&architecture.graph().unwrap(), [1; 32]),
        spec: architecture.clone(),
    };
    let describe = |digest, parameters| ModelRecord {
        digest,
        name: "mlp".to_owned(),
        parent: None,
        run_id: "tiny-1".to_owned(),
        round: 1,
        parameters,
        created_ms: 1,
        regions: Vec::new(),
        marks: Marks::default(),
        pinned: false,
    };
    let marks = Marks::default();
    let registry = &served.core.registry;
    registry
        .add_model(&file, marks, describe, batch)
        .await
        .unwrap()
}

async fn enrol(served: &Coordinator) {
    for number in 0..DEVICES {
        let profile = DeviceProfile {
            name: "watch".to_owned(),
            ..DeviceProfile::default()
        };
        let tasks = vec!["watch".to_owned()];
        let (id, home) = (device(number), region("eu"));
        let enrolled = served
            .core
            .fleet
            .enrol(id, &[7; 32], home, profile, tasks, 1);
        enrolled.await.unwrap();
    }
}

/// Connects all devices. What each is asked goes to `before` first; then it votes for the bin that `bin`
/// holds.
fn connect(
    served: &Arc<Coordinator>,
    bin: &Arc<AtomicU32>,
    before: fn(&Coordinator, &SummaryRequest),
) {
    for number in 0..DEVICES {
        let (_, mut messages) = served.core.fleet.connect(&device(number));
        let (served, bin) = (served.clone(), bin.clone());
        tokio::spawn(async move {
            while let Some(message) = messages.recv().await {
                if let Some(directive::Directive::SummaryRequest(request)) = message.directive {
                    before(&served, &request);
                    let monitor = served.monitors.get(&request.monitor_id.parse().unwrap());
                    let report = report(&request, bin.load(Ordering::SeqCst));
                    monitor
                        .unwrap()
                        .vote(&served.core, &device(number), &report);
                }
            }
        });
    }
}

fn report(request: &SummaryRequest, bin: u32) -> SummaryReport {
    let vote = |quantity: &v1::QuantitySpec| Vote {
        quantity_id: quantity.quantity_id.clone(),
        bin: 0,
        ballot: bin + 1,
    };
    SummaryReport {
        monitor_id: request.monitor_id.clone(),
        window: request.window,
        votes: request.quantities.iter().map(vote).collect(),
    }
}

fn shown(served: &Coordinator, run: &RunState) -> v1::Monitor {
    list(&served.monitors, Some(&run.id), None, 0)
        .unwrap()
        .remove(0)
}

/// Waits until the monitor of a run is as wanted.
async fn until(
    served: &Coordinator,
    run: &RunState,
    what: &str,
    wanted: impl Fn(&v1::Monitor) -> bool,
) -> v1::Monitor {
    for _ in 0..3_000 {
        if let Some(monitor) = list(&served.monitors, Some(&run.id), None, 0)
            .unwrap()
            .pop()
            && wanted(&monitor)
        {
            return monitor;
        }
        tokio::time::sleep(GLANCE).await;
    }
    panic!("waited in vain for {what}: {:?}", shown(served, run));
}

fn numbers(windows: &[DriftWindow]) -> Vec<u64> {
    windows.iter().map(|window| window.window).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_whose_commit_meets_a_full_disk_waits_for_space_and_loses_no_vote() {
    static STORE: std::sync::OnceLock<Arc<Flaky>> = std::sync::OnceLock::new();
    let (held, flaky) = Flaky::store();
    let store = STORE.get_or_init(|| flaky).clone();
    let served = coordinator_on(held).await;
    let run = completed(&served, watched()).await;
    enrol(&served).await;
    let full_in_the_third = |_: &Coordinator, request: &SummaryRequest| {
        let full = &STORE.get().unwrap().is_full;
        full.store(request.window == 3, Ordering::SeqCst);
    };
    let bin = Arc::default();
    connect(&served, &bin, full_in_the_third);
    start(&served.monitors, &run).await.unwrap();
    let waits = |monitor: &v1::Monitor| monitor.reason.starts_with("waiting for space");
    let waiting = until(&served, &run, "a monitor that waits", waits).await;
    assert_eq!(numbers(&waiting.windows), [1, 2], "{waiting:?}");
    let named = "degraded\nmonitor tiny-1-drift: waiting for space";
    let page = served.core.telemetry.health.page().1;
    assert!(page.starts_with(named), "{page}");
    let tries = store.refused.load(Ordering::SeqCst);
    while store.refused.load(Ordering::SeqCst) < tries + 2 {
        tokio::time::sleep(GLANCE).await;
    }
    assert_eq!(shown(&served, &run).windows, waiting.windows);
    store.is_full.store(false, Ordering::SeqCst);
    let on = until(&served, &run, "more windows", |one| one.windows_asked >= 5).await;
    assert_eq!(
        numbers(&on.windows)[..5],
        [1, 2, 3, 4, 5],
        "no vote was lost"
    );
    let all = |window: &DriftWindow| window.devices == DEVICES as u64;
    assert!(on.windows.iter().all(all), "{on:?}");
    let account = served.core.ledger.accounts(None, |_| 1e-5).remove(0);
    assert_eq!(account.charges, on.windows_asked, "each is charged once");
    assert_eq!(
        (
            on.reason.as_str(),
            served.core.telemetry.health.page().1.as_str()
        ),
        ("", "ok\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_with_a_device_whose_spending_was_lost_says_that_it_is_not_private() {
    let served = coordinator_on(Arc::new(MemoryStore::new())).await;
    let run = completed(&served, watched()).await;
    enrol(&served).await;
    connect(&served, &Arc::default(), |_, _| {});
    start(&served.monitors, &run).await.unwrap();
    let before = until(&served, &run, "windows", |one| one.windows_asked >= 2).await;
    let private = |window: &DriftWindow| !window.mechanism.contains("NOT PRIVATE");
    assert!(before.windows.iter().all(private) && before.reason.is_empty());
    // one of them was in an earlier epoch and has come back
    let marked = [(device(3), region("eu"))];
    served
        .core
        .ledger
        .forfeit(&marked, crate::ledger::PastCaps::Held, 7, 1)
        .await
        .unwrap();
    let wanted = before.windows_asked + 3;
    let after = until(&served, &run, "later windows", |one| {
        one.windows_asked >= wanted
    })
    .await;
    let last = after.windows.last().unwrap();
    assert!(last.mechanism.contains("NOT PRIVATE"), "{last:?}");
    assert!(
        last.mechanism.contains("lost with a data folder"),
        "{last:?}"
    );
    assert!(private(&after.windows[0]), "what was released before");
    assert!(after.reason.contains("NOT PRIVATE"), "{}", after.reason);
    let accounts = served.core.ledger.accounts(None, |_| 1e-5);
    let drift = accounts.iter().find(|account| account.kind == "drift");
    assert!(drift.unwrap().spend.as_ref().unwrap().not_private);
    let stopped = stop(&served.monitors, "tiny-1").await.unwrap();
    assert!(stopped.reason.contains("NOT PRIVATE"), "{stopped:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_without_noise_are_in_the_accounts_of_those_whose_votes_they_show() {
    let served = coordinator_on(Arc::new(MemoryStore::new())).await;
    let mut spec = watched();
    spec.drift.as_mut().unwrap().noise_votes = 0.0;
    let run = completed(&served, spec).await;
    enrol(&served).await;
    connect(&served, &Arc::default(), |_, _| {});
    start(&served.monitors, &run).await.unwrap();
    until(&served, &run, "windows", |one| one.windows_asked >= 2).await;
    stop(&served.monitors, "tiny-1").await.unwrap();
    let accounts = served.core.ledger.accounts(None, |_| 1e-5);
    let drift = accounts.iter().find(|account| account.kind == "drift");
    let drift = drift.unwrap();
    assert!(drift.spend.as_ref().unwrap().not_private, "{drift:?}");
    let [region] = &drift.regions[..] else {
        panic!("{drift:?}");
    };
    assert!(region.spend.as_ref().unwrap().not_private, "{drift:?}");
}

/// What the run and its monitor have set aside, with something for the playbook.
async fn reserve(served: &Coordinator, run: &RunState) {
    let mut playbooks = Part::new("playbooks", Some(1_000), "", ChargeKind::Training);
    playbooks.accounts.clear();
    let reserved = Reservation {
        id: run.id.to_string(),
        regions: run.spec.regions.clone(),
        parts: vec![playbooks],
    };
    let hold = served.core.ledger.hold().await;
    let changes = vec![Change::Reserve(reserved)];
    hold.commit(changes, Batch::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_that_can_not_start_is_seen_keeps_what_is_reserved_and_can_be_given_up() {
    let store = Arc::new(MemoryStore::new());
    let served = coordinator_on(store.clone()).await;
    let mut run = completed(&served, watched()).await;
    run.model = Digest::of(b"a blob that is gone");
    reserve(&served, &run).await;
    start_monitor(&served.monitors, run.clone()).await;
    let monitor = shown(&served, &run);
    assert_eq!(monitor.state(), MonitorState::Quarantined);
    let words = ["next start of the coordinator", "tributary monitor stop"];
    for word in words {
        assert!(monitor.reason.contains(word), "{}", monitor.reason);
    }
    assert_eq!(list(&served.monitors, None, None, 0).unwrap(), [monitor]);
    let warning = problem_of(&served.core, &run.id).unwrap();
    assert!(warning.contains("its monitor does not work"), "{warning}");
    assert!(served.core.ledger.reservation("tiny-1").is_some());
    let stopped = stop(&served.monitors, "tiny-1").await.unwrap();
    assert_eq!(stopped.state(), MonitorState::Stopped);
    assert!(
        stopped.reason.contains("could not be started"),
        "{stopped:?}"
    );
    assert!(served.core.ledger.reservation("tiny-1").is_none());
    assert!(served.core.quarantine.is_empty());
    // for good
    let served = coordinator_on(store).await;
    recover(&served.monitors, Vec::new()).await.unwrap();
    assert_eq!(shown(&served, &run), stopped);
    assert!(served.core.quarantine.is_empty() && served.monitors.all().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_that_meets_a_full_disk_before_it_begins_starts_once_there_is_room() {
    let (held, store) = Flaky::store();
    let served = coordinator_on(held).await;
    let run = completed(&served, watched()).await;
    store.is_full.store(true, Ordering::SeqCst);
    start_monitor(&served.monitors, run.clone()).await;
    tokio::time::sleep(GLANCE * 30).await;
    let page = served.core.telemetry.health.page().1;
    assert!(
        page.contains("monitor tiny-1-drift: waiting for space"),
        "{page}"
    );
    assert!(
        list(&served.monitors, Some(&run.id), None, 0)
            .unwrap()
            .is_empty()
    );
    store.is_full.store(false, Ordering::SeqCst);
    let on = |one: &v1::Monitor| one.state() == MonitorState::Running;
    until(&served, &run, "its start", on).await;
    assert_eq!(served.core.telemetry.health.page().1, "ok\n");
}
