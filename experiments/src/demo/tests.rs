//! The whole course with a small fleet, few rounds and little noise.

use std::sync::Mutex;

use serde_json::Value;

use super::*;
use crate::runner::{RoundNews, WindowNews};

/// Counts what it hears.
#[derive(Default)]
struct Listener {
    rounds: Mutex<Vec<RoundNews>>,
    windows: Mutex<Vec<WindowNews>>,
}

impl Progress for Listener {
    fn round(&self, news: &RoundNews) {
        self.rounds.lock().unwrap().push(news.clone());
    }

    fn window(&self, news: &WindowNews) {
        self.windows.lock().unwrap().push(news.clone());
    }
}

const FEW: u32 = 300;

/// A recipe that a test can afford: it learns enough to notice the other arm.
fn short_spec(config: &DemoConfig) -> RunSpec {
    let mut spec = config.scaled_spec().unwrap();
    let (training, retraining) = (6, 3);
    spec.rounds.count = training;
    spec.rounds.max_participations = training;
    spec.rounds.cohort = 200;
    spec.rounds.minimum = Some(100);
    spec.privacy.noise_multiplier = 0.1;
    spec.privacy.epsilon = None;
    let drift = spec.drift.as_mut().unwrap();
    (drift.interval_ms, drift.noise_votes) = (1, 2.0);
    let playbook = spec.playbook.as_mut().unwrap();
    playbook.rounds.count = retraining;
    playbook.privacy.noise_multiplier = 0.1;
    playbook.privacy.epsilon = None;
    spec
}

async fn play(seed: u64, folder: &std::path::Path) -> (DemoOutcome, Listener) {
    let report = folder.join(seed.to_string());
    let config = DemoConfig {
        devices: FEW,
        seed: Some(seed),
        report,
    };
    let listener = Listener::default();
    let spec = short_spec(&config);
    let outcome = Box::pin(play_recipe(config, spec, &listener))
        .await
        .unwrap();
    (outcome, listener)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_fleet_trains_drifts_is_noticed_retrained_and_gets_builds_that_fit() {
    let folder = tempfile::tempdir().unwrap();
    let (outcome, heard) = play(5, folder.path()).await;
    let summary = &outcome.summary;
    assert_eq!((summary.devices, summary.rounds), (300, 9));
    assert!(summary.accuracy.trained > summary.accuracy.initial);

    let drift = summary.drift.as_ref().unwrap();
    assert_eq!(drift.region, "west");
    let detected = drift.detected_window.unwrap();
    assert!(
        (INJECTED_WINDOW..INJECTED_WINDOW + 5).contains(&detected),
        "{detected}"
    );

    let profiles: Vec<&str> = summary.builds.iter().map(|build| &*build.profile).collect();
    assert_eq!(profiles, ["wrist-large", "wrist-small"]);
    // west has 90 devices, seven of ten with the larger hardware
    let installed: Vec<u64> = summary
        .builds
        .iter()
        .map(|build| build.installed_on)
        .collect();
    assert_eq!(installed.iter().sum::<u64>(), 90);
    assert!(
        summary.builds[1].bytes < summary.builds[0].bytes,
        "the small one got less"
    );
    assert!(
        summary.builds[1].decision.contains("full needs"),
        "{:?}",
        summary.builds[1]
    );

    assert_eq!(heard.rounds.lock().unwrap().len(), 9);
    let last = heard
        .windows
        .lock()
        .unwrap()
        .iter()
        .map(|window| window.window)
        .max();
    assert!(last >= Some(config::SEEDED_WINDOWS));
    let page = std::fs::read_to_string(&summary.report).unwrap();
    // the curve ends where the headline is: windows and calibrations after the last round are in it
    let json = std::path::Path::new(&summary.report).with_file_name("report.json");
    let report: Report = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let ends = report.epsilon.iter();
    let ends = ends.filter_map(|series| Some(series.points.last()?.value));
    assert_eq!(ends.fold(0.0, f64::max), summary.privacy.epsilon);
    assert!(page.contains("NOT PRIVATE"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_printed_json_has_the_promised_keys_and_a_seed_repeats_it() {
    let folder = tempfile::tempdir().unwrap();
    let (first, _) = play(6, folder.path()).await;
    let (again, _) = play(6, &folder.path().join("again")).await;
    let tables = |outcome: &DemoOutcome| {
        let tables = [
            "accuracy", "builds", "drift", "epsilon", "events", "ledger", "wire",
        ];
        let report = std::path::Path::new(&outcome.summary.report).to_owned();
        tables.map(|name| std::fs::read(report.with_file_name(format!("{name}.csv"))).unwrap())
    };
    assert!(tables(&first) == tables(&again), "to the byte");
    assert_eq!(first.summary.model_digest, again.summary.model_digest);
    assert_eq!(first.summary.accuracy, again.summary.accuracy);
    assert_eq!(first.summary.drift, again.summary.drift);
    assert_eq!(first.summary.privacy, again.summary.privacy);

    let json = serde_json::to_value(&first).unwrap();
    let keys = |path: &str, expected: &[&str]| {
        let value: &Value = json.pointer(path).unwrap();
        for key in expected {
            assert!(
                value.get(key).is_some_and(|value| !value.is_null()),
                "{path}/{key}"
            );
        }
    };
    keys(
        "",
        &[
            "devices",
            "regions",
            "rounds",
            "accuracy",
            "privacy",
            "drift",
            "builds",
            "model_digest",
            "report",
            "wire_bytes",
            "wall_s",
        ],
    );
    keys(
        "/accuracy",
        &[
            "initial",
            "trained",
            "drifted",
            "recovered",
            "recovered_int8",
        ],
    );
    keys(
        "/privacy",
        &["epsilon", "delta", "rho", "adjacency", "mechanism"],
    );
    keys(
        "/drift",
        &[
            "region",
            "injected_window",
            "detected_window",
            "false_alarms",
        ],
    );
    keys("/wire_bytes", &["down", "up"]);
    keys(
        "/builds/0",
        &[
            "region",
            "profile",
            "format",
            "bytes",
            "arena_bytes",
            "installed_on",
            "accuracy",
        ],
    );
    assert_eq!(json["not_private"], Value::Bool(true));
}
