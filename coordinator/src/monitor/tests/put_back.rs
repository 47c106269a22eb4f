//! A monitor of a folder that was put back from a copy.

use super::*;

/// Takes a folder back up: nobody has been heard, and nobody can come yet.
async fn taken_up(store: &MemoryStore) -> Arc<Coordinator> {
    let served = coordinator_on(Arc::new(store.clone())).await;
    recover(&served.monitors, Vec::new()).await.unwrap();
    connect(&served, &Arc::default(), |_, _| {});
    served.core.telemetry.health.set_ready(true);
    served
}

/// What a device does when it comes back: it shows the ticket of a window.
async fn shows(served: &Coordinator, number: usize, window: u64) {
    let place = crate::epoch::Place::of_window(window);
    // given before the copy was made, or soon after it
    let monitor = "tiny-1-drift".parse().unwrap();
    let asked = MonitorRecord::windows_asked(&served.core, &monitor)
        .unwrap()
        .unwrap();
    let asked = (place, asked.lineage.of(place));
    let ticket = served
        .core
        .epoch
        .order(&device(number), "tiny-1-drift", asked);
    let witnesses = served.witness(&device(number), &[ticket]).await.unwrap();
    for monitor in served.monitors.all() {
        monitor.connected(&served.core, &device(number), &witnesses);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_of_a_folder_that_was_put_back_asks_and_charges_nothing_before_its_devices_are_heard()
 {
    let store = MemoryStore::new();
    let served = coordinator_on(Arc::new(store.clone())).await;
    let run = completed(&served, watched()).await;
    enrol(&served).await;
    connect(&served, &Arc::default(), |_, _| {});
    start(&served.monitors, &run).await.unwrap();
    until(&served, &run, "windows", |one| one.windows_asked >= 3).await;
    let copy = store.fork();
    let whole = copy.fork();
    drop(served);
    // all devices are within reach, but none of them has shown anything
    let served = taken_up(&copy).await;
    let charges = |served: &Coordinator| served.core.ledger.accounts(None, |_| 1e-5)[0].charges;
    let (before, known) = (charges(&served), shown(&served, &run).windows_asked);
    let waits = |one: &v1::Monitor| one.reason.contains("after the start: 0 of 10 are heard");
    until(&served, &run, "a monitor that waits", waits).await;
    for number in 0..DEVICES - 1 {
        shows(&served, number, known).await;
    }
    tokio::time::sleep(GLANCE * 30).await;
    assert_eq!(charges(&served), before, "ten seconds have not passed");
    // one that was there later
    shows(&served, DEVICES - 1, known + 50).await;
    let halted = |one: &v1::Monitor| one.reason.contains("tributary restore");
    until(&served, &run, "a halted coordinator", halted).await;
    assert_eq!(charges(&served), before);
    // a restart that is none of a copy goes on as soon as all of them were heard
    let served = taken_up(&whole).await;
    for number in 0..DEVICES {
        shows(&served, number, known).await;
    }
    let on = |one: &v1::Monitor| one.windows_asked > known && one.reason.is_empty();
    until(&served, &run, "more windows", on).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_that_has_caught_up_with_its_lost_windows_does_not_hide_them() {
    let store = MemoryStore::new();
    let served = coordinator_on(Arc::new(store.clone())).await;
    let run = completed(&served, watched()).await;
    enrol(&served).await;
    connect(&served, &Arc::default(), |_, _| {});
    start(&served.monitors, &run).await.unwrap();
    until(&served, &run, "windows", |one| one.windows_asked >= 2).await;
    let copy = store.fork();
    let monitor: MonitorId = "tiny-1-drift".parse().unwrap();
    let newest = |served: &Coordinator| {
        let asked = MonitorRecord::windows_asked(&served.core, &monitor).unwrap();
        asked.unwrap().newest
    };
    let taken = coordinator_on(Arc::new(copy.clone())).await;
    let copied = newest(&taken);
    drop(taken);
    // what the copy will not know, of a window that it will reach
    let lost = crate::epoch::Place::of_window(copied + 2);
    let lost = served.core.epoch.order(
        &device(1),
        monitor.as_str(),
        (lost, served.core.epoch.incarnation()),
    );
    drop(served);
    let served = taken_up(&copy).await;
    for number in 0..DEVICES {
        shows(&served, number, copied).await;
    }
    let caught_up = |one: &v1::Monitor| one.windows_asked > copied + 3;
    until(&served, &run, "windows of its own", caught_up).await;
    assert!(!served.core.halt.is_halted());
    served.witness(&device(1), &[lost]).await.unwrap();
    assert!(served.core.halt.is_halted());
}
