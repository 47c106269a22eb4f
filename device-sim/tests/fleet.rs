//! Fleets over real gRPC and loopback TCP.
#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

#[path = "../../device/tests/fake/mod.rs"]
mod fake;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fake::FakeServer;
use fake::setting::{TASK, examples, hardware, model, plan};
use fake::world::{UploadKey, assignment};
use tributary_device_sim::{
    Behaviour, DriftInjection, Fault, Fleet, FleetConfig, FleetHandle, Pace, Shard, SimDevice,
};
use tributary_drift::Quantity;
use tributary_privacy::LocalNoise;
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::{
    Assignment, ParticipationLimit, QuantitySpec, SummaryRequest, TrainingPlan,
};

const FEATURES: usize = 6;

fn name(number: usize) -> String {
    format!("d-{number:04}")
}

fn device(number: usize) -> SimDevice {
    let data = examples(FEATURES, 9 + number % 4);
    let data = Shard {
        inputs: data.inputs,
        labels: data.labels,
    };
    let region = if number.is_multiple_of(2) {
        "west"
    } else {
        "east"
    };
    let id = name(number).parse().unwrap();
    SimDevice::new(id, region.parse().unwrap(), hardware(), TASK, data)
}

fn fleet(server: &FakeServer, permits: usize, devices: Vec<SimDevice>) -> FleetHandle {
    let config = FleetConfig {
        seed: Some([6; 32]),
        cpu_permits: permits,
        timing: fake::setting::timing(),
        ..FleetConfig::new(server.endpoint())
    };
    Fleet::start(config, devices).unwrap()
}

async fn with_run() -> (FakeServer, TrainingPlan, String, usize) {
    let server = FakeServer::start().await;
    let model = model(FEATURES, 8);
    let plan = plan(&model);
    let bytes = model.to_bytes().unwrap();
    let size = bytes.len();
    let digest = server.world.put(bytes);
    server
        .world
        .with(|memory| memory.runs.insert("run-1".to_owned(), plan.clone()));
    (server, plan, digest, size)
}

async fn until(fleet: &FleetHandle, event: &str, count: u64) {
    for _ in 0..6000 {
        if fleet.stats().tally.count(event) >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain for {event}: {:?}", fleet.stats());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_agents_share_four_connections_and_all_answer() {
    let (server, plan, digest, size) = with_run().await;
    let count = 1000;
    let fleet = fleet(&server, 2, (0..count).map(device).collect());
    fleet.wait_connected(count).await;
    assert_eq!(server.world.with(|memory| memory.peers.len()), 4);
    for number in 0..count {
        server
            .world
            .order(&name(number), assignment("run-1", 1, &plan, &digest))
            .await;
    }
    until(&fleet, "upload.counted", count as u64).await;
    let stats = fleet.stats();
    assert_eq!(
        (stats.devices, stats.refused, stats.tally.connected),
        (count, 0, count)
    );
    assert_eq!(
        stats.tally.bytes_down,
        (count * size) as u64,
        "each fetched the model itself"
    );
    assert_eq!(stats.tally.bytes_up, count as u64 * plan.parameters * 4);
    assert_eq!(stats.tally.shapes["-v[]+"], count as u64);
    assert_eq!(server.world.with(|memory| memory.counted.len()), count);
    let stats = fleet.shutdown().await;
    assert_eq!(stats.tally.connected, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simulated_devices_show_their_records_and_those_in_folders_outlast_the_fleet() {
    let folder = tempfile::tempdir().unwrap();
    let devices = || {
        let in_folder = |number: usize| SimDevice {
            folder: Some(folder.path().join(name(number))),
            ..device(number)
        };
        vec![device(0), device(1), in_folder(2), in_folder(3)]
    };
    let (server, plan, digest, _) = with_run().await;
    let limit = ParticipationLimit {
        max_participations: 1,
        min_interval_ms: 1,
        ..ParticipationLimit::default()
    };
    let plan = TrainingPlan {
        participation: Some(limit),
        ..plan
    };
    let counts = |fleet: &FleetHandle| -> Vec<u32> {
        let records = fleet.participations("run-1").unwrap();
        records.iter().map(|record| record.count).collect()
    };
    let order = async |number: usize, round: u32| {
        let order = assignment("run-1", round, &plan, &digest);
        server.world.order(&name(number), order).await;
    };
    let first = fleet(&server, 2, devices());
    for number in [0, 2] {
        order(number, 1).await;
    }
    until(&first, "upload.counted", 2).await;
    assert_eq!(counts(&first), [1, 0, 1, 0]);
    first.shutdown().await;
    let second = fleet(&server, 2, devices());
    second.wait_connected(4).await;
    assert_eq!(counts(&second), [0, 0, 1, 0]);
    for number in 0..4 {
        order(number, 2).await;
    }
    until(&second, "upload.counted", 3).await;
    until(&second, "abandoned.max_participations", 1).await;
    assert_eq!(counts(&second), [1, 1, 1, 1]);
}

async fn seeded_round(
    permits: usize,
    change: impl Fn(TrainingPlan) -> TrainingPlan,
) -> (BTreeMap<UploadKey, Vec<u8>>, BTreeMap<String, u64>) {
    let (server, plan, digest, _) = with_run().await;
    let behaviour = |number: usize| Behaviour {
        seconds_per_step: 0.1 * (number % 10) as f64,
        pace: Pace::Virtual {
            deadline: Duration::from_secs(5),
        },
        drop_out: 0.2,
        fault: None,
    };
    let devices = (0..60).map(|number| SimDevice {
        behaviour: behaviour(number),
        ..device(number)
    });
    let fleet = fleet(&server, permits, devices.collect());
    let plan = change(TrainingPlan { epochs: 3, ..plan });
    server
        .world
        .with(|memory| memory.runs.insert("run-1".to_owned(), plan.clone()));
    for number in 0..60 {
        server
            .world
            .order(&name(number), assignment("run-1", 1, &plan, &digest))
            .await;
    }
    for _ in 0..6000 {
        let tally = fleet.stats().tally;
        let given_back = tally.count("abandoned.slow") + tally.count("abandoned.network");
        if tally.count("upload.counted") + given_back == 60 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut events = fleet.shutdown().await.tally.events;
    events.retain(|event, _| event.starts_with("abandoned") || event.starts_with("upload"));
    (
        server
            .world
            .with(|memory| std::mem::take(&mut memory.counted)),
        events,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_seed_gives_the_same_bytes_whatever_the_number_of_threads() {
    let one = seeded_round(1, |plan| plan).await;
    let four = seeded_round(4, |plan| plan).await;
    assert_eq!(one.1, four.1);
    assert!(one.0 == four.0, "updates differ between 1 and 4 threads");
    assert!(
        one.1["abandoned.slow"] > 0 && one.1["abandoned.network"] > 0,
        "{:?}",
        one.1
    );
    assert_eq!(one.1.values().sum::<u64>(), 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_seed_gives_the_same_noise_of_the_devices_own() {
    let noised = |plan: TrainingPlan| {
        let parameters = plan.parameters as usize;
        let noise = LocalNoise::new(plan.clip, parameters, 1.0).unwrap();
        TrainingPlan {
            local_noise_multiplier: 1.0,
            wire_clip: noise.wire_clip(),
            ..plan
        }
    };
    let one = seeded_round(1, noised).await;
    let four = seeded_round(4, noised).await;
    assert!(one == four, "updates differ between 1 and 4 threads");
    let plain = seeded_round(2, |plan| plan).await;
    // under privacy a slow device says nothing of it, and answers like any other
    let (slow, network) = (plain.1["abandoned.slow"], plain.1["abandoned.network"]);
    let expected = BTreeMap::from([
        ("abandoned.network".to_owned(), network),
        (
            "upload.counted".to_owned(),
            plain.1["upload.counted"] + slow,
        ),
    ]);
    assert_eq!(
        one.1, expected,
        "the same devices answer, and the slow ones"
    );
    for (device, bytes) in &plain.0 {
        assert_ne!(one.0[device], *bytes, "{device:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_is_refused_for_its_own_reason() {
    let (server, plan, digest, _) = with_run().await;
    // the first four are given back: a round would wait for them
    let faults = [
        (Fault::Nan, "rejected.not_finite"),
        (Fault::Huge, "rejected.norm_too_large"),
        (Fault::Short, "rejected.wrong_layout"),
        (Fault::WrongDigest, "rejected.wrong_digest"),
        (Fault::Duplicate, "rejected.duplicate"),
        (Fault::Late, "rejected.lease_expired"),
        (Fault::ForeignRun, "rejected.unknown_run"),
    ];
    let devices = faults
        .iter()
        .enumerate()
        .map(|(number, (fault, _))| SimDevice {
            behaviour: Behaviour {
                fault: Some(*fault),
                ..Behaviour::default()
            },
            ..device(number)
        });
    let fleet = fleet(&server, 2, devices.collect());
    fleet.wait_connected(faults.len()).await;
    for (number, (fault, reason)) in faults.iter().enumerate() {
        let lease_ms = if *fault == Fault::Late { 100 } else { 60_000 };
        if *fault == Fault::Late {
            let end = Instant::now() + Duration::from_millis(lease_ms);
            server.world.with(|memory| memory.lease_end = Some(end));
        }
        let order = Order::Assignment(Assignment {
            run_id: "run-1".to_owned(),
            round: 1,
            plan: Some(plan.clone()),
            model_digest: digest.clone(),
            lease_ms,
            attempt: 1,
            ..Assignment::default()
        });
        server.world.order(&name(number), order).await;
        until(&fleet, reason, 1).await;
        server.world.with(|memory| memory.lease_end = None);
        if number < 4 {
            let back = loop {
                match server.world.event(&name(number)).await {
                    Event::Heartbeat(_) => {}
                    Event::AssignmentAbandoned(back) => break back,
                    other => panic!("{fault:?}: expected the assignment back, got {other:?}"),
                }
            };
            assert_eq!((back.round, back.reason.as_str()), (1, "failed"));
        }
    }
    let counted = server.world.with(|memory| memory.counted.len());
    assert_eq!(counted, 1, "only the first copy of the duplicate counts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_injected_drift_shifts_one_region_from_its_window_on() {
    let (server, _, digest, _) = with_run().await;
    let shifted = |number: usize| {
        let usual = device(number);
        let inputs = usual
            .data
            .inputs
            .iter()
            .map(|value| value + 100.0)
            .collect();
        let shifted = Shard::new(inputs, usual.data.labels.to_vec());
        SimDevice {
            shifted: Some(shifted),
            ..usual
        }
    };
    let fleet = fleet(&server, 2, (0..4).map(shifted).collect());
    let west = "west".parse().unwrap();
    fleet.inject(DriftInjection {
        region: west,
        from_window: 3,
    });
    let edges = [50.0];
    let quantity = Quantity::with_edges("feature:0", edges.to_vec()).unwrap();
    for window in 1..=4 {
        for number in 0..4 {
            let request = SummaryRequest {
                monitor_id: "m".to_owned(),
                window,
                task: TASK.to_owned(),
                model_digest: digest.clone(),
                quantities: vec![QuantitySpec {
                    quantity_id: quantity.id().to_string(),
                    source: "feature:0".to_owned(),
                    edges: edges.to_vec(),
                    bins: quantity.bins() as u32,
                }],
                deadline_ms: 60_000,
                simulation_seed: vec![1; 32].into(),
                ..SummaryRequest::default()
            };
            server
                .world
                .order(&name(number), Order::SummaryRequest(request))
                .await;
            let Event::SummaryReport(report) = server.world.event(&name(number)).await else {
                panic!("expected votes");
            };
            let is_west = number.is_multiple_of(2);
            let expected = u32::from(is_west && window >= 3);
            assert_eq!(
                report.votes[0].ballot,
                expected + 1,
                "window {window}, device {number}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_comes_back_after_a_crash_of_the_coordinator() {
    let (mut server, plan, digest, _) = with_run().await;
    let fleet = fleet(&server, 2, (0..50).map(device).collect());
    fleet.wait_connected(50).await;
    server.kill();
    until(&fleet, "session.lost", 50).await;
    server.restart().await;
    for number in 0..50 {
        server
            .world
            .order(&name(number), assignment("run-1", 1, &plan, &digest))
            .await;
    }
    until(&fleet, "upload.counted", 50).await;
    assert_eq!(
        server.world.with(|memory| memory.enrolments),
        50,
        "tokens stay valid"
    );
}
