//! However many streams do not say who they are: those that do are served.

use std::time::Duration;

use tokio::task::JoinSet;
use tonic::{Code, Status};
use tributary_coordinator::Limits;

use crate::harness::hand::{hands, update};
use crate::harness::operator::assert_refusal;
use crate::harness::raw::{Call, Raw};
use crate::harness::{Coordinator, Operator, Recipe, channel, within};

const UPLOAD: &str = "/tributary.v1.TransferService/Upload";
const CONNECT: &str = "/tributary.v1.OrchestrationService/Connect";
const WATCH: &str = "/tributary.v1.ControlService/Watch";
const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";

/// Begins so many calls over one connection, and sends nothing of their requests.
async fn silent(endpoint: &str, path: &str, count: usize) -> (Raw, Vec<Call>) {
    let mut raw = Raw::connect(endpoint).await;
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        held.push(raw.begin(path).await);
    }
    (raw, held)
}

/// A coordinator whose strangers may take their time.
async fn patient(limits: Limits) -> Coordinator {
    Coordinator::limited(Limits {
        hello: Duration::from_secs(120),
        ..limits
    })
    .await
}

/// What the first of the calls is told that ends, with the others under way.
async fn first_refused(held: Vec<Call>) -> (Status, JoinSet<Status>) {
    let mut calls: JoinSet<Status> = held.into_iter().map(Call::status).collect();
    let first = within("a refusal", calls.join_next()).await;
    (first.unwrap().unwrap(), calls)
}

/// Two new devices come, take part in a run of one round, and it completes.
async fn devices_take_part(operator: &Operator, endpoint: &str) {
    let mut devices = hands(&channel(endpoint).await, 2).await;
    let run = operator.start(&Recipe::new().rounds(1, 2)).await;
    for (number, (hand, session)) in (0..).zip(devices.iter_mut()) {
        let order = session.assignment().await;
        hand.counted(&order, &update(number)).await;
    }
    operator.completed(&run).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_that_hold_every_place_of_uploads_keep_no_device_out() {
    let coordinator = patient(Limits::default()).await;
    let operator = coordinator.operator().await;
    let (raw, mut held) = silent(&coordinator.endpoint(), UPLOAD, 1_024).await;
    let more = silent(&coordinator.endpoint(), UPLOAD, 600).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    devices_take_part(&operator, &coordinator.endpoint()).await;
    // the oldest were sent away, and know it
    let refused = held.swap_remove(0).status().await;
    let words = ["not announced themselves", "try again"];
    assert_refusal(&refused, Code::ResourceExhausted, "TRB-0220", &words);
    drop((raw, held, more));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_that_hold_every_place_of_sessions_keep_no_device_out() {
    let coordinator = patient(Limits::default()).await;
    let operator = coordinator.operator().await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(silent(&coordinator.endpoint(), CONNECT, 1_000).await);
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    devices_take_part(&operator, &coordinator.endpoint()).await;
    let refused = held[0].1.swap_remove(0).status().await;
    let words = ["not said hello", "try again"];
    assert_refusal(&refused, Code::ResourceExhausted, "TRB-0220", &words);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_bounded_over_all_connections_and_devices_of_others_still_come() {
    let limits = Limits {
        streams: 160,
        ..Limits::default()
    };
    let coordinator = patient(limits).await;
    let operator = coordinator.operator().await;
    let (raw, held) = silent(&coordinator.endpoint(), CONNECT, 200).await;
    let (refused, held) = first_refused(held).await;
    let words = ["too many streams are open", "try again"];
    assert_refusal(&refused, Code::ResourceExhausted, "TRB-0220", &words);
    devices_take_part(&operator, &coordinator.endpoint()).await;
    drop((raw, held));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_only_watch_leave_the_places_of_others_alone() {
    let limits = Limits {
        streams: 320,
        ..Limits::default()
    };
    let coordinator = patient(limits).await;
    let operator = coordinator.operator().await;
    // both draw on the places for those that only watch
    for path in [WATCH, HEALTH_WATCH] {
        let (raw, held) = silent(&coordinator.endpoint(), path, 11).await;
        let (refused, held) = first_refused(held).await;
        assert_refusal(&refused, Code::ResourceExhausted, "TRB-0220", &["watch"]);
        devices_take_part(&operator, &coordinator.endpoint()).await;
        drop((raw, held));
    }
}
