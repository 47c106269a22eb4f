//! Every way to learn that a recipe can ask for, over real gRPC, from a fleet to a model.

use std::sync::Arc;

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

/// Runs a recipe to its end; digest and held-out accuracy of its model.
async fn learn(recipe: &Recipe) -> (String, f64) {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let coordinator = Coordinator::open(folder, 2).await;
    let operator = coordinator.operator().await;
    let devices = ["eu", "us"]
        .iter()
        .flat_map(|region| fleet::devices(region, DEVICES / 2));
    let fleet = fleet::start(&coordinator.endpoint(), 2, devices.collect());
    fleet.wait_connected(DEVICES).await;
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
    learns(
        "scaffold",
        algorithm("kind = 'scaffold'").set("privacy.clip", 20.0),
    )
    .await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_buffered_run_learns_while_devices_come_and_go() {
    let recipe = base()
        .set("rounds.cohort", 3)
        .set("rounds.minimum", 1)
        .set("rounds.over_selection", 3.0)
        .set("rounds.population", DEVICES as i64)
        .set("rounds.count", 20)
        .set("rounds.staleness_cap", 4);
    let (_, accuracy) = learn(&recipe).await;
    assert!(accuracy > 0.85, "accuracy {accuracy}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_staleness_a_buffer_is_a_round_of_federated_averaging() {
    let (rounds, _) = learn(&base().seeded(3)).await;
    let (buffers, _) = learn(&base().set("rounds.staleness_cap", 0).seeded(3)).await;
    assert_eq!(rounds, buffers);
}
