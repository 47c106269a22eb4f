//! Attackers through the real path: what they send, and that it is counted or refused.
#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

#[path = "../../device/tests/fake/mod.rs"]
mod fake;

use std::time::Duration;

use fake::FakeServer;
use fake::setting::{TASK, examples, hardware, model, plan};
use fake::world::assignment;
use tributary_aggregator::Codec;
use tributary_device_sim::{Behaviour, Fault, Fleet, FleetConfig, FleetHandle, Shard, SimDevice};
use tributary_proto::v1::personalisation::Kind;
use tributary_proto::v1::{Ditto, Personalisation, TrainingPlan};

const FEATURES: usize = 6;

fn device(name: &str, shard: Shard, fault: Option<Fault>) -> SimDevice {
    let behaviour = Behaviour {
        fault,
        ..Behaviour::default()
    };
    let region = "eu".parse().unwrap();
    SimDevice {
        behaviour,
        ..SimDevice::new(name.parse().unwrap(), region, hardware(), TASK, shard)
    }
}

fn shard(flipped: bool) -> Shard {
    let data = examples(FEATURES, 12);
    let labels = data
        .labels
        .iter()
        .map(|label| if flipped { 2 - label } else { *label });
    Shard {
        inputs: data.inputs.clone(),
        labels: labels.collect(),
    }
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

fn fleet(server: &FakeServer, devices: Vec<SimDevice>) -> FleetHandle {
    let config = FleetConfig {
        seed: Some([6; 32]),
        timing: fake::setting::timing(),
        ..FleetConfig::new(server.endpoint())
    };
    Fleet::start(config, devices).unwrap()
}

/// Full batches: what is sent does not depend on the device's name but for rounding.
fn full_batches(plan: TrainingPlan) -> TrainingPlan {
    TrainingPlan {
        batch_size: 64,
        ..plan
    }
}

fn norm(values: &[f32]) -> f32 {
    values.iter().map(|value| value * value).sum::<f32>().sqrt()
}

/// What each device sends in one round.
async fn payloads(clip: f32, devices: Vec<(&str, Shard, Option<Fault>)>) -> Vec<Vec<f32>> {
    let server = FakeServer::start().await;
    let model = model(FEATURES, 8);
    let plan = TrainingPlan {
        clip,
        ..full_batches(plan(&model))
    };
    let digest = server.world.put(model.to_bytes().unwrap());
    let run = "run-1".to_owned();
    server
        .world
        .with(|memory| memory.runs.insert(run, plan.clone()));
    let names: Vec<_> = devices.iter().map(|(name, _, _)| *name).collect();
    let devices = devices
        .into_iter()
        .map(|(name, shard, fault)| device(name, shard, fault));
    let fleet = fleet(&server, devices.collect());
    let mut sent = Vec::new();
    for name in names {
        let order = assignment("run-1", 1, &plan, &digest);
        server.world.order(name, order).await;
        let bytes = server.world.counted("run-1", 1, name).await;
        let mut values = vec![0.0; model.weights.len()];
        Codec::F32.decode_into(&bytes, &mut values).unwrap();
        sent.push(values);
    }
    fleet.shutdown().await;
    sent
}

fn assert_scaled(actual: &[f32], factor: f32, honest: &[f32]) {
    let expected: Vec<f32> = honest.iter().map(|value| factor * value).collect();
    let apart: Vec<f32> = actual.iter().zip(&expected).map(|(a, e)| a - e).collect();
    let (apart, whole) = (norm(&apart), norm(&expected));
    assert!(apart < 1e-4 * whole, "{apart} of {whole}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attackers_send_well_formed_updates_that_lead_astray() {
    let sent = payloads(
        100.0,
        vec![
            ("honest", shard(false), None),
            ("flips-sign", shard(false), Some(Fault::SignFlip)),
            ("boosts", shard(false), Some(Fault::Scale { factor: 8.0 })),
            ("ipm", shard(false), Some(Fault::Ipm { tau: 0.1 })),
            ("flips-labels", shard(false), Some(Fault::LabelFlip)),
            ("honest-on-flipped", shard(true), None),
        ],
    )
    .await;
    assert_scaled(&sent[1], -1.0, &sent[0]);
    assert_scaled(&sent[2], 8.0, &sent[0]);
    assert_scaled(&sent[3], -0.1, &sent[0]);
    assert_scaled(&sent[4], 1.0, &sent[5]);
    let same: f32 = sent[4]
        .iter()
        .zip(&sent[0])
        .map(|(a, b)| (a - b).abs())
        .sum();
    assert!(
        same > 0.1 * norm(&sent[0]),
        "flipped labels teach something else"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_boosted_update_is_held_to_the_clip() {
    let boosts = Some(Fault::Scale { factor: 1000.0 });
    let devices = vec![
        ("honest", shard(false), None),
        ("boosts", shard(false), boosts),
    ];
    let sent = payloads(0.5, devices).await;
    assert!((norm(&sent[1]) - 0.5).abs() < 1e-4, "{}", norm(&sent[1]));
    assert_scaled(&sent[1], norm(&sent[1]) / norm(&sent[0]), &sent[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_is_refused_with_every_codec() {
    let server = FakeServer::start().await;
    let model = model(FEATURES, 8);
    let digest = server.world.put(model.to_bytes().unwrap());
    let faults = [("nan", Fault::Nan), ("huge", Fault::Huge)];
    let devices = faults.map(|(name, fault)| device(name, shard(false), Some(fault)));
    let fleet = fleet(&server, devices.into());
    for (round, codec) in (1..).zip(Codec::ALL) {
        let plan = TrainingPlan {
            codec: codec.to_string(),
            ..plan(&model)
        };
        let run = "run-1".to_owned();
        server
            .world
            .with(|memory| memory.runs.insert(run, plan.clone()));
        for (name, _) in faults {
            let order = assignment("run-1", round, &plan, &digest);
            server.world.order(name, order).await;
        }
        until(&fleet, "upload.refused", 2 * u64::from(round)).await;
        let tally = fleet.stats().tally;
        let refused = tally.count("rejected.not_finite") + tally.count("rejected.norm_too_large");
        assert_eq!(refused, 2 * u64::from(round), "{codec}: {:?}", tally.events);
    }
    assert!(server.world.with(|memory| memory.counted.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_shows_the_personal_model_of_each_device() {
    let server = FakeServer::start().await;
    let model = model(FEATURES, 8);
    let ditto = Kind::Ditto(Ditto {
        lambda: 0.1,
        epochs: 2,
    });
    let plan = TrainingPlan {
        personalisation: Some(Personalisation { kind: Some(ditto) }),
        ..plan(&model)
    };
    let digest = server.world.put(model.to_bytes().unwrap());
    let run = "run-1".to_owned();
    server
        .world
        .with(|memory| memory.runs.insert(run, plan.clone()));
    let devices = [("a", false), ("b", true), ("idle", false)];
    let devices = devices.map(|(name, flipped)| device(name, shard(flipped), None));
    let fleet = fleet(&server, devices.into());
    for name in ["a", "b"] {
        let order = assignment("run-1", 1, &plan, &digest);
        server.world.order(name, order).await;
    }
    until(&fleet, "upload.counted", 2).await;
    let models = fleet.personal_models("run-1", None);
    let [Some(a), Some(b), None] = &models[..] else {
        panic!("the third device took no part");
    };
    assert_eq!(a.len(), model.weights.len());
    assert!(a != b && *a != model.weights);
    assert_eq!(fleet.clusters("run-1"), [Some(0), Some(0), None]);
    assert_eq!(fleet.personal_models("run-2", None), [None, None, None]);
}
