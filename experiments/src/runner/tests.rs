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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_the_coordinator_refuses_is_told_in_its_words() {
    let mut recipe = digits();
    recipe.variants.truncate(1);
    recipe.run.model = tributary_coordinator::spec::ModelSource::Version(
        tributary_coordinator::spec::VersionSource {
            version: "0".repeat(64),
        },
    );
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
