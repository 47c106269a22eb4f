//! Every way to protect devices that a recipe can ask for, over real gRPC: what is released, what it
//! costs, and what a crash changes (nothing).

use std::sync::Arc;

use tributary_device_sim::{FleetHandle, SimDevice};
use tributary_proto::v1::{PrivacySpend, Round};

use crate::harness::operator::of;
use crate::harness::{Coordinator, Recipe, fleet};

/// Devices of a run, half of them in each region.
const DEVICES: usize = 12;

fn table(text: &str) -> toml::Value {
    let table: toml::Table = toml::from_str(text).unwrap();
    table.into()
}

/// Six rounds of four devices, with room for participations three rounds apart.
fn base() -> Recipe {
    Recipe::private()
        .rounds(6, 4)
        .set("rounds.population", DEVICES as i64)
        .set("rounds.min_separation", 3)
        .set("rounds.max_participations", 2)
        .set("training.epochs", 4)
}

fn devices() -> Vec<SimDevice> {
    let regions = ["eu", "us"].iter();
    regions
        .flat_map(|region| fleet::devices(region, DEVICES / 2))
        .collect()
}

async fn connected(coordinator: &Coordinator) -> FleetHandle {
    let fleet = fleet::start(&coordinator.endpoint(), 2, devices());
    fleet.wait_connected(DEVICES).await;
    fleet
}

/// What a run showed when it was over.
struct Ended {
    model: String,
    rounds: Vec<Round>,
    /// The worst device of the run, by the ledger.
    ledger: PrivacySpend,
}

impl Ended {
    /// Spend of the worst device after each round.
    fn spends(&self) -> Vec<f64> {
        let spend = |round: &Round| round.privacy.as_ref().unwrap().rho;
        self.rounds.iter().map(spend).collect()
    }

    fn clips(&self) -> Vec<f32> {
        self.rounds.iter().map(|round| round.clip).collect()
    }
}

/// Runs a recipe to its end; with `crash` the coordinator dies in its third round.
async fn run(recipe: &Recipe, crash: bool) -> Ended {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let mut coordinator = Coordinator::open(folder, 2).await;
    let mut fleet = connected(&coordinator).await;
    let mut operator = coordinator.operator().await;
    let run = operator.start(recipe).await;
    if crash {
        operator
            .until(&run, "the third round", |shown| of(shown).round >= 3)
            .await;
        coordinator = coordinator.crash_and_restart().await;
        fleet.shutdown().await;
        operator = coordinator.operator().await;
        fleet = connected(&coordinator).await;
    }
    let shown = operator.completed(&run).await;
    let ended = Ended {
        model: of(&shown).model_digest.clone(),
        rounds: shown.rounds.clone(),
        ledger: operator.privacy(&run).await.accounts[0]
            .spend
            .clone()
            .unwrap(),
    };
    fleet.shutdown().await;
    ended
}

/// Asserts that the run and the ledger say the same, with these words, and that spend never falls.
fn assert_stated(ended: &Ended, mechanism: &str, adjacency: &str) {
    let spends = ended.spends();
    assert!(spends.is_sorted(), "{spends:?}");
    assert_eq!(*spends.last().unwrap(), ended.ledger.rho);
    for spend in ended
        .rounds
        .iter()
        .filter_map(|round| round.privacy.as_ref())
        .chain([&ended.ledger])
    {
        assert!(spend.mechanism.contains(mechanism), "{spend:?}");
        assert_eq!(spend.adjacency, adjacency);
        assert!(!spend.not_private && spend.delta == 1e-5);
        assert!(
            spend.epsilon > 0.0
                && spend
                    .epsilon_gaussian
                    .is_none_or(|curve| curve <= spend.epsilon),
            "{spend:?}"
        );
    }
}

const ZERO_OUT: &str = "zero-out-one-device";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn correlated_noise_costs_a_whole_run_what_one_round_costs_with_fresh_noise() {
    for (mechanism, words) in [
        ("blt", "correlated by a BLT"),
        ("tree", "correlated by a tree"),
    ] {
        let recipe = base()
            .set("privacy.mechanism", mechanism)
            .set("privacy.noise_multiplier", 2.0);
        let ended = run(&recipe, false).await;
        assert_stated(&ended, words, ZERO_OUT);
        // 12 devices, 6 rounds of 4: each takes part twice, three rounds apart, as it may at the most;
        // rho is 1 / (2 z^2) for both together
        let spends = ended.spends();
        assert!(
            (0.124..=0.1250001).contains(&spends[5]),
            "{mechanism} {spends:?}"
        );
        // in the first three rounds each took part once, and pays the rest later
        assert!(spends[2] < 0.7 * spends[5], "{mechanism} {spends:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fresh_noise_is_paid_for_at_every_participation() {
    let ended = run(&base().set("privacy.noise_multiplier", 2.0), false).await;
    assert_stated(&ended, "discrete Gaussian, zCDP", ZERO_OUT);
    let spends = ended.spends();
    assert!((0.125..0.1251).contains(&spends[0]), "{spends:?}");
    assert!((0.25..0.2502).contains(&spends[5]), "{spends:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adaptive_clip_comes_up_from_far_and_costs_no_more() {
    let adaptive = "count_noise = 1.1\nlearning_rate = 0.5\nquantile = 0.5";
    let recipe = base()
        .set("privacy.clip", 0.001)
        .set("privacy.noise_multiplier", 2.0)
        .set("privacy.adaptive_clip", table(adaptive));
    let ended = run(&recipe, false).await;
    assert_stated(&ended, "discrete Gaussian, zCDP", ZERO_OUT);
    let clips = ended.clips();
    assert_eq!(clips[0], 0.001);
    // all four updates are longer: each step is 0.25 in the logarithm, with noise of 0.14; that five of
    // them lead down has a chance of 3e-5
    assert!(clips[5] > clips[0], "{clips:?}");
    let spends = ended.spends();
    // the count is paid for out of the same noise: rho stays 1 / (2 z^2) a participation
    assert!((0.125..0.1251).contains(&spends[0]), "{spends:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clip_is_estimated_first_and_frozen_then() {
    let adaptive = "count_noise = 5.0\nrounds = 3";
    let recipe = base()
        .set("privacy.mechanism", "blt")
        .set("privacy.noise_multiplier", 2.0)
        .set("privacy.adaptive_clip", table(adaptive));
    let ended = run(&recipe, false).await;
    assert_stated(&ended, "correlated by a BLT", ZERO_OUT);
    let models: Vec<&str> = ended
        .rounds
        .iter()
        .map(|round| round.model_digest.as_str())
        .collect();
    assert_eq!(models[0], models[2], "nothing but the clip is released");
    assert_ne!(models[2], models[3]);
    let clips = ended.clips();
    assert!(clips[0] != clips[1] && clips[1] != clips[2], "{clips:?}");
    assert_eq!(clips[3..], [clips[3]; 3], "{clips:?}");
    // a vote costs 1 / (8 x 25), the one round that trains 1 / 8
    let spends = ended.spends();
    assert!((0.005..0.00501).contains(&spends[2]), "{spends:?}");
    assert!((0.129..0.1301).contains(&spends[5]), "{spends:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_local_noise_a_device_pays_when_it_is_asked() {
    let recipe = base()
        .set("privacy.mode", "local")
        .set("privacy.noise_multiplier", 4.0);
    let ended = run(&recipe, false).await;
    assert_stated(&ended, "local", "replace-one-device");
    // (2 B)^2 / (2 sigma^2) = 1 / 8 a round
    let spends = ended.spends();
    assert!((0.125..0.1251).contains(&spends[0]), "{spends:?}");
    assert!((0.25..0.2502).contains(&spends[5]), "{spends:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_changes_no_bit_of_correlated_noise_or_of_a_moving_clip() {
    let estimate = "count_noise = 2.0\nrounds = 2";
    let every = "count_noise = 2.0";
    let private = || base().rounds(12, 4).set("rounds.max_participations", 4);
    let cases = [
        private().set("privacy.mechanism", "blt"),
        private().set("privacy.mechanism", "tree"),
        private()
            .set("privacy.mechanism", "blt")
            .set("privacy.adaptive_clip", table(estimate)),
        private().set("privacy.adaptive_clip", table(every)),
        private().set("privacy.mode", "local"),
    ];
    for recipe in cases {
        let recipe = recipe.seeded(9);
        let undisturbed = run(&recipe, false).await;
        let crashed = run(&recipe, true).await;
        assert_eq!(crashed.model, undisturbed.model, "{recipe:?}");
        assert_eq!(crashed.clips(), undisturbed.clips(), "{recipe:?}");
        assert_eq!(crashed.spends(), undisturbed.spends(), "{recipe:?}");
        assert_eq!(crashed.ledger, undisturbed.ledger, "{recipe:?}");
        let spend = &undisturbed.ledger;
        assert!(
            spend.not_private && spend.mechanism.contains("NOT PRIVATE"),
            "{spend:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mechanism_learns_when_its_noise_is_small() {
    let learning = || {
        Recipe::private()
            .rounds(6, DEVICES as i64)
            .set("training.epochs", 4)
            .set("privacy.clip", 4.0)
            .set("privacy.noise_multiplier", 0.01)
    };
    let cases = [
        learning(),
        learning().set("privacy.mechanism", "blt"),
        learning().set("privacy.mechanism", "tree"),
        learning().set("privacy.adaptive_clip", table("quantile = 0.8")),
        learning().set("privacy.mode", "local"),
        learning()
            .set("privacy.mode", "local")
            .set("training.codec", "int8"),
    ];
    for recipe in cases {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let coordinator = Coordinator::open(folder, 2).await;
        let operator = coordinator.operator().await;
        let fleet = connected(&coordinator).await;
        let run = operator.start(&recipe).await;
        let shown = operator.completed(&run).await;
        let file = operator.file(&of(&shown).model_digest).await;
        let accuracy = fleet::held_out_accuracy(&file, false);
        assert!(accuracy > 0.85, "{accuracy}: {recipe:?}");
        fleet.shutdown().await;
    }
}
