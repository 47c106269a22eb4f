//! What a run says of its health, made of released values and its recipe alone.

use crate::harness::operator::of;
use crate::harness::{Coordinator, Recipe, fleet};

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
