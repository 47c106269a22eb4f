//! Deadlines follow the monotonic clock: a step of the time of day ends nothing and holds nothing up.

use std::sync::Arc;
use std::time::Duration;

use tributary_proto::v1::{GetRunResponse, RunState};

use crate::harness::hand::{hands, update};
use crate::harness::operator::of;
use crate::harness::process::Process;
use crate::harness::time_of_day::{HOUR_MS, PreloadedTime, SteppedClock};
use crate::harness::{Coordinator, Operator, Recipe, channel};

/// Four seconds for a round of three devices, two of which suffice.
fn recipe() -> Recipe {
    Recipe::new()
        .rounds(1, 3)
        .set("rounds.minimum", 2)
        .set("rounds.deadline_ms", 4_000)
}

/// A run waits for devices, then collects, and the time of day steps at both times by `step_hours`.
async fn nothing_happens_by_a_step(operator: &Operator, step: impl Fn(i64)) {
    let run = operator.start(&recipe()).await;
    let waits = |shown: &GetRunResponse| of(shown).reason.contains("waits for devices");
    operator.until(&run, "it waits", waits).await;
    for hours in [1, -1] {
        step(hours);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let shown = operator.show(&run).await;
        assert_eq!(
            of(&shown).state(),
            RunState::Running,
            "{hours} h: {shown:#?}"
        );
    }
    let mut devices = hands(&operator.channel, 3).await;
    let mut orders = Vec::new();
    for (_, session) in &mut devices {
        orders.push(session.assignment().await);
    }
    // forward: nobody is late
    step(1);
    for number in 0..2 {
        let update = update(number as u64);
        devices[number].0.counted(&orders[number], &update).await;
    }
    // back: the round still ends, without the third
    step(-1);
    let shown = operator.completed(&run).await;
    assert_eq!(shown.rounds.len(), 1, "{shown:#?}");
    assert_eq!(shown.rounds[0].counted, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_an_hour_on_or_back_neither_fails_a_run_nor_holds_a_round_open() {
    let clock = Arc::new(SteppedClock::new());
    let stepped = clock.clone();
    let coordinator = Coordinator::start_with(|config| config.clock = stepped).await;
    let operator = coordinator.operator().await;
    nothing_happens_by_a_step(&operator, |hours| clock.step(hours * HOUR_MS)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_server_bears_steps_of_the_systems_clock() {
    let folder = tempfile::tempdir().unwrap();
    let time = PreloadedTime::new(folder.path());
    let data = folder.path().join("data");
    let log = std::process::Stdio::null();
    let process = Process::serve_within(&data, "127.0.0.1:0", log, time.environment());
    let operator = Operator::new(channel(&process.endpoint()).await);
    let total = std::cell::Cell::new(0);
    nothing_happens_by_a_step(&operator, |hours| {
        total.set(total.get() + hours * HOUR_MS / 1_000);
        time.step(total.get());
    })
    .await;
    // the library is really in between: what is shown to people follows the step
    time.step(100 * HOUR_MS / 1_000);
    let late = operator.start(&recipe()).await;
    let started = |shown: &GetRunResponse| of(shown).started_unix_ms;
    let runs = operator.runs().await;
    let first = operator.show(&runs.last().unwrap().run_id).await;
    let apart = started(&operator.show(&late).await) - started(&first);
    assert!(apart > 99 * HOUR_MS as u64, "{apart} ms apart");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_goes_on_after_a_restart_whatever_the_clock_says_then() {
    let clock = Arc::new(SteppedClock::new());
    let coordinator = Coordinator::start_with(|config| config.clock = clock).await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&operator.channel, 3).await;
    let run = operator.start(&recipe()).await;
    let mut orders = Vec::new();
    for (_, session) in &mut devices {
        orders.push(session.assignment().await);
    }
    devices[0].0.counted(&orders[0], &update(0)).await;
    let ahead = Arc::new(SteppedClock::new());
    ahead.step(HOUR_MS);
    let coordinator = coordinator
        .crash_and_restart_with(|config| config.clock = ahead.clone())
        .await;
    let here = coordinator.channel().await;
    let hand = devices[1].0.over(&here);
    let mut session = hand.connect().await;
    let order = session.assignment().await;
    assert_eq!(
        (order.round, order.attempt),
        (1, 1),
        "the lease has not ended"
    );
    hand.counted(&order, &update(1)).await;
    let shown = coordinator.operator().await.completed(&run).await;
    assert_eq!(shown.rounds[0].counted, 2);
}
