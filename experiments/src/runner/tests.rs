//! Experiments end to end, with few devices and rounds.

use std::sync::Mutex;

use super::*;

/// Notes the stages it hears of.
#[derive(Default)]
struct Stages(Mutex<Vec<String>>);

impl Progress for Stages {
    fn stage(&self, name: &str) {
        self.0.lock().unwrap().push(name.to_owned());
    }
}

fn digits() -> ExperimentRecipe {
    let text = include_str!("../../recipes/digits-iid-dirichlet.toml");
    let mut recipe = ExperimentRecipe::from_toml(text).unwrap();
    recipe.fleet.devices = 40;
    recipe.run.rounds.population = Some(40);
    recipe.run.rounds.cohort = 20;
    recipe.run.rounds.minimum = Some(10);
    recipe.run.rounds.count = 8;
    recipe
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variants_are_compared_in_one_report_and_an_even_split_learns_most() {
    let folder = tempfile::tempdir().unwrap();
    let heard = Stages::default();
    let outcome = Box::pin(run_experiment(&digits(), folder.path(), &heard))
        .await
        .unwrap();
    let names: Vec<&str> = outcome
        .variants
        .iter()
        .map(|variant| &*variant.name)
        .collect();
    assert_eq!(names, ["iid", "dirichlet 1", "dirichlet 0.2"]);
    let [even, _, skewed] = &outcome.variants[..] else {
        panic!("three variants")
    };
    // the run is seeded, so these comparisons give the same answer every time
    assert!(even.trained > even.initial + 0.3, "{even:?}");
    assert!(even.trained > skewed.trained, "{even:?} {skewed:?}");
    assert_eq!(even.rounds, 8);
    assert!(even.epsilon.is_infinite(), "without noise no epsilon holds");
    assert!(outcome.not_private);

    let page = std::fs::read_to_string(&outcome.report).unwrap();
    assert!(page.contains("dirichlet 0.2"));
    let csv = std::fs::read_to_string(folder.path().join("accuracy.csv")).unwrap();
    // a header, and for each of three lines the start and eight rounds
    assert_eq!(csv.lines().count(), 1 + 3 * 9);
    let stages = heard.0.lock().unwrap();
    assert!(
        stages.iter().any(|stage| stage == "training: dirichlet 1"),
        "{stages:?}"
    );
}

/// Two variants, the better one first, and what the report has of them.
async fn two_variants() -> (ExperimentOutcome, serde_json::Value, [String; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = digits();
    recipe.run.rounds.count = 4;
    recipe.variants.remove(1);
    let ran = Box::pin(run_experiment(&recipe, folder.path(), &Silent)).await;
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let report = serde_json::from_str(&read("report.json")).unwrap();
    (
        ran.unwrap(),
        report,
        [read("accuracy.csv"), read("wire.csv")],
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_best_variant_is_the_headline_and_two_runs_of_a_seed_give_the_same_files_by_variant() {
    let (outcome, report, files) = two_variants().await;
    let [first, last] = &outcome.variants[..] else {
        panic!("two variants")
    };
    assert!(first.trained > last.trained, "the last is not the best");
    assert_eq!(report["summary"]["headline"], first.name.as_str());
    let trained = report["summary"]["accuracy"]["trained"].as_f64().unwrap();
    assert!((trained - first.trained).abs() < 1e-12, "{trained}");
    for csv in &files {
        let mut lines = csv.lines();
        let header = lines.next().unwrap();
        assert_eq!(header.split(',').next(), Some("variant"), "{header}");
        let named: std::collections::BTreeSet<&str> =
            lines.map(|line| line.split(',').next().unwrap()).collect();
        let both = [first, last].map(|variant| &*variant.name);
        assert_eq!(named, both.into(), "{csv}");
    }
    let (_, _, again) = two_variants().await;
    assert_eq!(files, again);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_the_coordinator_refuses_is_told_in_its_words() {
    let mut recipe = digits();
    recipe.variants.truncate(1);
    recipe.run.model = tributary_recipe::ModelSource::Version(tributary_recipe::VersionSource {
        version: "0".repeat(64),
    });
    let folder = tempfile::tempdir().unwrap();
    let refused = Box::pin(run_experiment(&recipe, folder.path(), &Silent)).await;
    let error = refused.unwrap_err();
    assert!(
        matches!(
            error,
            RunnerError::Call {
                call: "StartRun",
                ..
            }
        ),
        "{error}"
    );
}
