//! Every way to learn that a recipe can ask for, over real gRPC, from a fleet to a model.

use std::sync::Arc;

use tributary_device_sim::{Behaviour, Fault, FleetHandle, SimDevice};

use crate::harness::operator::of;
use crate::harness::{Coordinator, Recipe, fleet};

/// Devices of a run, half of them in each region.
const DEVICES: usize = 10;

fn table(text: &str) -> toml::Value {
    let table: toml::Table = toml::from_str(text).unwrap();
    table.into()
}

/// Six rounds of all devices, enough to learn what one feature says.
fn base() -> Recipe {
    Recipe::new()
        .rounds(6, DEVICES as i64)
        .set("training.epochs", 4)
        .set("privacy.clip", 4.0)
}

/// Half of the devices in each region.
fn devices() -> Vec<SimDevice> {
    let regions = ["eu", "us"].iter();
    regions
        .flat_map(|region| fleet::devices(region, DEVICES / 2))
        .collect()
}

async fn connected(coordinator: &Coordinator, devices: Vec<SimDevice>) -> FleetHandle {
    let fleet = fleet::start(&coordinator.endpoint(), 2, devices);
    fleet.wait_connected(DEVICES).await;
    fleet
}

/// Runs a recipe to its end; digest and held-out accuracy of its model.
async fn learn(recipe: &Recipe) -> (String, f64) {
    learn_with(recipe, devices()).await
}

async fn learn_with(recipe: &Recipe, devices: Vec<SimDevice>) -> (String, f64) {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let coordinator = Coordinator::open(folder, 2).await;
    let operator = coordinator.operator().await;
    let _fleet = connected(&coordinator, devices).await;
    let run = operator.start(recipe).await;
    let shown = operator.completed(&run).await;
    let digest = of(&shown).model_digest.clone();
    let accuracy = fleet::held_out_accuracy(&operator.file(&digest).await, false);
    (digest, accuracy)
}

/// The recipe learns, and with a seed it does so twice to the bit.
async fn learns(name: &str, recipe: Recipe) {
    let recipe = recipe.seeded(5);
    let (first, accuracy) = learn(&recipe).await;
    assert!(accuracy > 0.85, "{name}: accuracy {accuracy}");
    let (second, _) = learn(&recipe).await;
    assert_eq!(first, second, "{name}: a seed repeats the bits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_codec_carries_a_run() {
    for codec in [
        "bf16",
        "int8",
        "int4",
        "topk:0.3",
        "drive",
        "eden:2",
        "int8+zstd",
    ] {
        learns(codec, base().set("training.codec", codec)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_algorithm_learns() {
    let algorithm = |text: &str| base().set("training.algorithm", table(text));
    learns("fedprox", algorithm("kind = 'fedprox'\nmu = 0.1")).await;
    let scaffold = algorithm("kind = 'scaffold'")
        .set("privacy.clip", 20.0)
        .set("rounds.population", DEVICES as i64);
    learns("scaffold", scaffold).await;
    learns("fednova", algorithm("kind = 'fednova'")).await;
    learns("qfedavg", algorithm("kind = 'qfedavg'\nq = 0.5")).await;
    let half = table("kind = 'feddyn'\nparticipation = 1.0");
    let dynamic = algorithm("kind = 'feddyn'\nalpha = 0.1").set("server.optimiser", half);
    learns("feddyn", dynamic).await;
    learns("momentum", base().set("training.momentum", 0.5)).await;
    learns("examples", base().set("training.examples_cap", 20)).await;
    learns("max_steps", base().set("training.max_steps", 6)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_server_optimiser_learns() {
    for optimiser in [
        "kind = 'fedavgm'\nlearning_rate = 0.7\nmomentum = 0.5",
        "kind = 'fedadagrad'\nlearning_rate = 0.2\nepsilon = 0.01",
        "kind = 'fedadam'\nlearning_rate = 0.1\nbeta1 = 0.9\nbeta2 = 0.99\nepsilon = 0.01",
        "kind = 'fedyogi'\nlearning_rate = 0.1\nbeta1 = 0.9\nbeta2 = 0.99\nepsilon = 0.01",
    ] {
        learns(optimiser, base().set("server.optimiser", table(optimiser))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_personalisation_learns() {
    let personal = |text: &str| base().set("training.personalisation", table(text));
    learns(
        "ditto",
        personal("kind = 'ditto'\nlambda = 0.5\nepochs = 1"),
    )
    .await;
    learns(
        "apfl",
        personal("kind = 'apfl'\nalpha = 0.5\nadaptive = true"),
    )
    .await;
    // both share the whole model, which is what FedDyn's state belongs to
    for kind in [
        "kind = 'ditto'\nlambda = 0.5\nepochs = 1",
        "kind = 'apfl'\nalpha = 0.5\nadaptive = false",
    ] {
        let half = table("kind = 'feddyn'\nparticipation = 1.0");
        let dynamic = personal(kind)
            .set("training.algorithm", table("kind = 'feddyn'\nalpha = 0.1"))
            .set("server.optimiser", half);
        learns("feddyn with a personal model", dynamic).await;
    }
    learns("heads", personal("kind = 'region_heads'\nlayers = ['2.']")).await;
    // the cluster that the devices chose is the first or the second: only that it ends is asked
    let clusters = personal("kind = 'ifca'\nclusters = 2").seeded(5);
    assert_eq!(learn(&clusters).await.0, learn(&clusters).await.0);
    // the shared part alone is no classifier: the heads stay on the devices
    for kind in ["fedper", "fedrep"] {
        let layers = if kind == "fedrep" {
            "\nhead_epochs = 1"
        } else {
            ""
        };
        let recipe = personal(&format!("kind = '{kind}'\nlayers = ['2.']{layers}")).seeded(5);
        assert_eq!(learn(&recipe).await.0, learn(&recipe).await.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_robust_rule_learns() {
    let robust = |rule: &str| {
        base()
            .set("aggregation.mode", "robust")
            .set("aggregation.byzantine", 1)
            .set("aggregation.rule", table(rule))
    };
    learns("default", base().set("aggregation.mode", "robust")).await;
    for rule in [
        "kind = 'median'",
        "kind = 'trimmed_mean'",
        "kind = 'krum'",
        "kind = 'multi_krum'",
        "kind = 'bulyan'",
        "kind = 'geometric_median'",
        "kind = 'centered_clipping'\ntau = 1.0",
        "kind = 'norm_bounding'",
    ] {
        learns(
            rule,
            robust(rule).set("aggregation.pre", toml::Value::Array(Vec::new())),
        )
        .await;
    }
    let buckets: Vec<toml::Value> = vec![table("kind = 'bucketing'\nsize = 2")];
    learns(
        "bucketing",
        robust("kind = 'median'").set("aggregation.pre", buckets),
    )
    .await;
    let trusted = robust("kind = 'fltrust'")
        .set("aggregation.pre", toml::Value::Array(Vec::new()))
        .set("aggregation.trusted", "eu-000");
    learns("fltrust", trusted).await;
}

/// Buffers of three, with nine devices at work at a time.
fn buffered() -> Recipe {
    base()
        .set("rounds.cohort", 3)
        .set("rounds.minimum", 1)
        .set("rounds.over_selection", 3.0)
        .set("rounds.population", DEVICES as i64)
        .set("rounds.count", 20)
        .set("rounds.staleness_cap", 4)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_buffered_run_learns_while_devices_come_and_go() {
    let (_, accuracy) = learn(&buffered()).await;
    assert!(accuracy > 0.85, "accuracy {accuracy}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_buffer_opens_when_all_who_may_take_part_are_at_work_already() {
    // each device may be counted once: after the first selection there is nobody left to ask
    let once = buffered()
        .set("rounds.count", 3)
        .set("rounds.max_participations", 1);
    learn(&once).await;
    learn(&buffered().set("rounds.min_separation", 3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_that_vanish_free_their_places_in_a_buffered_run() {
    let mut devices = devices();
    for device in devices.iter_mut().step_by(3) {
        device.behaviour = Behaviour {
            fault: Some(Fault::Late),
            ..Behaviour::default()
        };
    }
    let recipe = buffered().set("rounds.deadline_ms", 400);
    let (_, accuracy) = learn_with(&recipe, devices).await;
    assert!(accuracy > 0.8, "accuracy {accuracy}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_keeps_a_place_for_the_device_that_fltrust_compares_with() {
    // more devices are asked than the goal takes, and the trusted one is no faster than others
    let recipe = base()
        .rounds(8, 4)
        .set("rounds.over_selection", 2.0)
        .set("rounds.population", DEVICES as i64)
        .set("aggregation.mode", "robust")
        .set("aggregation.byzantine", 1)
        .set("aggregation.pre", toml::Value::Array(Vec::new()))
        .set("aggregation.rule", table("kind = 'fltrust'"))
        .set("aggregation.trusted", "us-004");
    let (_, accuracy) = learn(&recipe).await;
    assert!(accuracy > 0.85, "accuracy {accuracy}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_whose_update_is_refused_does_not_hold_up_a_seeded_round() {
    let mut devices = devices();
    devices[3].behaviour.fault = Some(Fault::Nan);
    let recipe = base().set("rounds.minimum", 5).seeded(2);
    let (_, accuracy) = learn_with(&recipe, devices).await;
    assert!(accuracy > 0.85, "accuracy {accuracy}");
}

/// Crashes the coordinator in mid-run and goes on with new devices of the same names.
async fn learn_over_a_crash(recipe: &Recipe) -> String {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let coordinator = Coordinator::open(folder, 2).await;
    let operator = coordinator.operator().await;
    let fleet = connected(&coordinator, devices()).await;
    let run = operator.start(recipe).await;
    operator
        .until(&run, "the third round", |shown| of(shown).round >= 3)
        .await;
    let coordinator = coordinator.crash_and_restart().await;
    fleet.shutdown().await;
    let operator = coordinator.operator().await;
    let _fleet = connected(&coordinator, devices()).await;
    of(&operator.completed(&run).await).model_digest.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_changes_no_bit_of_what_the_server_remembers() {
    let personal = |text: &str| base().set("training.personalisation", table(text));
    let adam = "kind = 'fedadam'\nlearning_rate = 0.1\nbeta1 = 0.9\nbeta2 = 0.99\nepsilon = 0.01";
    let centre = "kind = 'centered_clipping'\ntau = 1.0";
    let cases = [
        base().set("server.optimiser", table(adam)),
        personal("kind = 'region_heads'\nlayers = ['2.']"),
        personal("kind = 'ifca'\nclusters = 2"),
        base()
            .set("aggregation.mode", "robust")
            .set("aggregation.byzantine", 1)
            .set("aggregation.pre", toml::Value::Array(Vec::new()))
            .set("aggregation.rule", table(centre)),
    ];
    for recipe in cases {
        let recipe = recipe.set("rounds.count", 12).seeded(9);
        let (undisturbed, _) = learn(&recipe).await;
        assert_eq!(learn_over_a_crash(&recipe).await, undisturbed, "{recipe:?}");
    }
    // the devices of this one lose what they keep, and buffers depend on who is first: they end
    let scaffold = base()
        .set("training.algorithm", table("kind = 'scaffold'"))
        .set("rounds.population", DEVICES as i64)
        .set("rounds.count", 12);
    learn_over_a_crash(&scaffold).await;
    learn_over_a_crash(&buffered()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_staleness_a_buffer_is_a_round_of_federated_averaging() {
    let (rounds, _) = learn(&base().seeded(3)).await;
    let (buffers, _) = learn(&base().set("rounds.staleness_cap", 0).seeded(3)).await;
    assert_eq!(rounds, buffers);
}
