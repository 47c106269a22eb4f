//! What a run says of its health, made of released values and its recipe alone.

use crate::harness::agent::{Found, RealAgent};
use crate::harness::operator::of;
use crate::harness::{Coordinator, Recipe, fleet, within};

/// Devices of a round.
const DEVICES: usize = 12;

/// The hints of a completed run.
async fn hints(recipe: &Recipe) -> Vec<String> {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let fleet = fleet::start(&coordinator.endpoint(), 2, fleet::devices("eu", DEVICES));
    fleet.wait_connected(DEVICES).await;
    let run = operator.start(recipe).await;
    let shown = operator.completed(&run).await;
    fleet.shutdown().await;
    let hints = of(&shown).hints.clone();
    // they are made of what is durable
    let coordinator = coordinator.crash_and_restart().await;
    let again = coordinator.operator().await.show(&run).await;
    assert_eq!(of(&again).hints, hints);
    hints
}

fn recipe() -> Recipe {
    Recipe::new().rounds(8, DEVICES as i64).seeded(3)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_learns_says_nothing() {
    assert_eq!(hints(&recipe()).await, Vec::<String>::new());
    let private = Recipe::private()
        .rounds(8, DEVICES as i64)
        .seeded(3)
        .set("privacy.noise_multiplier", 0.1);
    assert_eq!(hints(&private).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_with_a_learning_rate_of_a_thousand_says_that_it_may_diverge() {
    let diverging = recipe()
        .set("training.learning_rate", 1_000.0)
        .set("privacy.clip", 1e5);
    let hints = hints(&diverging).await;
    assert!(
        hints
            .iter()
            .any(|hint| hint.contains("training.learning_rate")),
        "{hints:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_answers_come_as_trained_says_that_who_is_counted_may_depend_on_it() {
    let open = Recipe::private()
        .rounds(1, DEVICES as i64)
        .set("privacy.answer_time", "as-trained");
    let mut table: toml::Table = toml::from_str(&open.text()).unwrap();
    table["privacy"]
        .as_table_mut()
        .unwrap()
        .remove("answer_window_ms");
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let run = operator
        .try_start(&toml::to_string(&table).unwrap(), "")
        .await
        .unwrap();
    let hints = of(&operator.show(&run).await).hints.clone();
    assert!(
        hints.iter().any(|hint| hint.contains("as-trained")),
        "{hints:?}"
    );
}

/// The recipe with `units` hidden units: the norm of noise hardly varies where it is on many values.
fn wide(recipe: Recipe, units: i64) -> Recipe {
    let layer = |kind: &str, units: Option<i64>| {
        let mut layer = toml::Table::new();
        layer.insert("kind".to_owned(), kind.into());
        layer.extend(units.map(|units| ("units".to_owned(), units.into())));
        toml::Value::Table(layer)
    };
    let layers = vec![
        layer("dense", Some(units)),
        layer("relu", None),
        layer("dense", Some(2)),
        layer("softmax", None),
    ];
    recipe.set("model.layers", layers)
}

/// The only words that tell an operator of a private run that devices have nothing to send.
const STILL: &str = "can't be told from noise alone";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_run_whose_devices_have_nothing_to_send_says_that_it_stands_still() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut agents = Vec::new();
    for (id, found) in [
        ("eu-broken", Found::Unreadable),
        ("eu-empty", Found::Examples(Vec::new(), Vec::new())),
        ("eu-diverging", Found::copies(8, [f32::NAN; 4], 0)),
    ] {
        let agent = RealAgent::start(&coordinator.endpoint(), "eu", id, found);
        within("the device", agent.connected()).await;
        agents.push(agent);
    }
    // noise alone is recognised in all but 1 of 1,000 cases
    let recipe = wide(Recipe::private().rounds(3, agents.len() as i64), 5_000);
    let run = operator.start(&recipe).await;
    let said = |hints: &[String]| hints.iter().filter(|hint| hint.contains(STILL)).count();
    let early = operator
        .until(&run, "its first round", |shown| !shown.rounds.is_empty())
        .await;
    if early.rounds.len() == 1 {
        assert_eq!(said(&of(&early).hints), 0, "one release says nothing yet");
    }
    let shown = operator.completed(&run).await;
    let hints = &of(&shown).hints;
    assert_eq!(said(hints), 1, "{hints:?}");
    let still = hints.iter().find(|hint| hint.contains(STILL)).unwrap();
    for remedy in ["training.learning_rate", "privacy.answer_window_ms"] {
        assert!(still.contains(remedy), "{still}");
    }
    // it is all that is told: nobody is said to have failed
    assert!(of(&shown).drops.is_empty());
    assert!(shown.rounds.iter().all(|round| round.counted == 3));
    for agent in agents {
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_run_that_learns_does_not_say_that_it_stands_still() {
    let recipe = Recipe::private()
        .rounds(4, DEVICES as i64)
        .seeded(3)
        .set("privacy.noise_multiplier", 0.01)
        .set("training.learning_rate", 0.02);
    let hints = hints(&wide(recipe, 600)).await;
    assert!(hints.iter().all(|hint| !hint.contains(STILL)), "{hints:?}");
}
