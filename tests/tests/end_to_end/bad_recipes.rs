//! Invariant 10 for recipes: the refusal names the key and the remedy, and nothing is started.

use tonic::Code;
use tributary_proto::v1::RunState;

use crate::harness::operator::{assert_refusal, of};
use crate::harness::{Coordinator, Recipe};

fn array(values: &[f64]) -> toml::Value {
    values.to_vec().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_10_bad_recipes_are_refused_with_the_key_and_the_remedy() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let new = Recipe::new;
    let cases: Vec<(Recipe, &[&str])> = vec![
        // keys that are not there, and values of another type
        (new().set("colour", "red"), &["colour", "unknown field"]),
        (
            new().set("rounds.cohrt", 3),
            &["cohrt", "unknown field", "cohort"],
        ),
        (
            new().set("privacy.epsilom", 3.0),
            &["epsilom", "unknown field", "epsilon"],
        ),
        (
            new().set("rounds.cohort", "ten"),
            &["cohort", "invalid type"],
        ),
        (new().set("rounds.count", -1), &["count"]),
        (
            new().set("training.learning_rate", true),
            &["learning_rate", "invalid type"],
        ),
        (new().set("regions", "eu"), &["regions", "invalid type"]),
        (
            new().set("privacy.mode", "off"),
            &["mode", "`dp`", "`none`"],
        ),
        // a goal larger than the population, in one round and over all of them
        (
            new().set("rounds.population", 3),
            &[
                "rounds.cohort",
                "larger than the population of 3",
                "rounds.population",
            ],
        ),
        (
            new()
                .rounds(10, 4)
                .set("rounds.population", 8)
                .set("rounds.max_participations", 2),
            &[
                "rounds.max_participations",
                "16 contributions",
                "plan fewer rounds",
            ],
        ),
        // numbers that make no sense
        (new().set("rounds.count", 0), &["rounds.count", "use 1 to"]),
        (
            new().set("rounds.minimum", 5),
            &["rounds.minimum", "use 1 to the cohort"],
        ),
        (
            new().set("rounds.over_selection", 0.5),
            &["rounds.over_selection", "use 1 to 4"],
        ),
        (
            new().set("training.epochs", 0),
            &["training.epochs", "use 1 to"],
        ),
        (
            new().set("training.codec", "zip"),
            &["training.codec", "topk:SHARE"],
        ),
        (
            new().set("training.learning_rate", f64::NAN),
            &["training.learning_rate"],
        ),
        (new().set("privacy.clip", 0.0), &["privacy.clip", "use "]),
        (
            new().set("privacy.clip", f64::INFINITY),
            &["privacy.clip", "use "],
        ),
        (
            new().set("privacy.delta", 1.0),
            &["privacy.delta", "below 1"],
        ),
        (
            new().set("privacy.noise_multiplier", 1.0),
            &["privacy.noise_multiplier", "none"],
        ),
        (
            new().set("privacy.epsilon", 1.0),
            &["epsilon", "privacy.mode"],
        ),
        (
            Recipe::private().set("privacy.noise_multiplier", 0.0),
            &["privacy.noise_multiplier"],
        ),
        // names and regions
        (
            new().set("name", "a b"),
            &["name", "use 1 to 40 characters"],
        ),
        (
            new().set("name", "x".repeat(41)),
            &["name", "use 1 to 40 characters"],
        ),
        (
            new().set("regions", vec!["eu", "eu"]),
            &["regions", "name each once"],
        ),
        (
            new().set("regions", Vec::<String>::new()),
            &["regions", "name 1 to 1000"],
        ),
        (
            new().set("regions", vec!["e u"]),
            &["region", "use 1 to 64 characters"],
        ),
        (new().set("task", ""), &["task", "name the data"]),
        // the model
        (new().set("model.input", vec![0]), &["model"]),
        (new().set("model.input", vec![1_000_000_000]), &["model"]),
        (new().set("model.layers", Vec::<String>::new()), &["model"]),
    ];
    for (recipe, words) in cases {
        let refused = operator.refused(&recipe.text()).await;
        assert_refusal(&refused, Code::InvalidArgument, "TRB-0110", words);
    }
    for text in ["", "name = ", "[[[", "\u{0}", "name = 'a'\nname = 'b'"] {
        let refused = operator.refused(text).await;
        assert_refusal(
            &refused,
            Code::InvalidArgument,
            "TRB-0110",
            &["the recipe can't be read"],
        );
    }
    let long = format!("# {}\n{}", "x".repeat(300_000), new().text());
    let refused = operator.refused(&long).await;
    assert_refusal(
        &refused,
        Code::InvalidArgument,
        "TRB-0110",
        &["262144", "shorten it"],
    );
    assert!(operator.runs().await.is_empty() && operator.models().await.is_empty());

    let run = operator.start(&new()).await;
    assert_eq!(of(&operator.show(&run).await).state(), RunState::Running);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_10_a_wrong_key_inside_the_model_is_named() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let layer = |kind: &str| {
        let mut table = toml::Table::new();
        table.insert("kind".to_owned(), kind.into());
        toml::Value::Table(table)
    };
    let cases: Vec<(Recipe, &[&str])> = vec![
        (Recipe::new().set("model.colour", 1), &["colour"]),
        (
            Recipe::new().set("model.layers", vec![layer("dens")]),
            &["dens", "dense"],
        ),
        (
            Recipe::new().set("model.layers", vec![layer("dense")]),
            &["units"],
        ),
        (Recipe::new().set("model.input", "four"), &["four"]),
        (Recipe::new().set("model.version", "abc"), &["model"]),
    ];
    for (recipe, words) in cases {
        let refused = operator.refused(&recipe.text()).await;
        assert_refusal(&refused, Code::InvalidArgument, "TRB-0110", words);
    }
    let mut version = toml::Table::new();
    version.insert("version".to_owned(), "0".repeat(64).into());
    let refused = operator
        .refused(&Recipe::new().set("model", version.clone()).text())
        .await;
    assert_refusal(
        &refused,
        Code::NotFound,
        "TRB-0200",
        &["model", "tributary model ls"],
    );
    version.insert("version".to_owned(), "latest".into());
    let refused = operator
        .refused(&Recipe::new().set("model", version).text())
        .await;
    assert_refusal(
        &refused,
        Code::InvalidArgument,
        "TRB-0110",
        &["model.version", "64 hex"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_10_monitors_that_make_no_sense_are_refused_with_the_key_and_the_remedy() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let monitored = || {
        Recipe::private()
            .set("drift.interval_ms", 100)
            .set("drift.noise_votes", 2.0)
            .set("drift.quantities", crate::invariant_7::quantities())
    };
    let quantity = |source: &str, edges: Option<toml::Value>| {
        let mut table = toml::Table::new();
        table.insert("source".to_owned(), source.into());
        if let Some(edges) = edges {
            table.insert("edges".to_owned(), edges);
        }
        vec![toml::Value::Table(table)]
    };
    let with = |source, edges| monitored().set("drift.quantities", quantity(source, edges));
    let builds = || monitored().set("builds.calibration_noise_votes", 2.0);
    let cases: Vec<(Recipe, &[&str])> = vec![
        (
            monitored().set("drift.noise_votes", 0.0),
            &["drift.noise_votes", "0.5"],
        ),
        (
            monitored().set("drift.deadline_ms", 1),
            &["drift.deadline_ms", "use 100"],
        ),
        (
            monitored().set("drift.quantities", Vec::<String>::new()),
            &["drift.quantities"],
        ),
        (
            with("confidence", None),
            &["drift.quantities.edges", "rising"],
        ),
        (
            with("confidence", Some(array(&[0.5, 0.5]))),
            &["drift.quantities.edges", "rising"],
        ),
        (
            with("confidence", Some(array(&[f64::NAN]))),
            &["drift.quantities.edges", "rising"],
        ),
        (
            with("weather", Some(array(&[0.5]))),
            &["drift.quantities.source", "feature:N"],
        ),
        (
            with("feature:x", Some(array(&[0.5]))),
            &["drift.quantities.source", "feature:N"],
        ),
        (
            builds().set("builds.widths", array(&[0.5, 1.0])),
            &["builds.widths", "widest first"],
        ),
        (
            builds().set("builds.widths", array(&[1.0, 0.0])),
            &["builds.widths", "widest first"],
        ),
        // ranges of activations are a release like any other
        (
            builds().set("builds.calibration_noise_votes", 0.0),
            &["builds.calibration_noise_votes", "0.5"],
        ),
    ];
    for (recipe, words) in cases {
        let refused = operator.refused(&recipe.text()).await;
        assert_refusal(&refused, Code::InvalidArgument, "TRB-0110", words);
    }
    operator.start(&builds()).await;
}
