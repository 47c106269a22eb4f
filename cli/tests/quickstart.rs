//! The README's first run, with the commands as they stand there: its devices train.
#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use support::Served;

const RECIPE: &str = include_str!("../../experiments/recipes/quickstart.toml");
const README: &str = include_str!("../../README.md");

/// Starts the devices of the README, with its flags and no others that matter to their training.
fn devices(served: &Served) -> Vec<Child> {
    let lines = README
        .lines()
        .filter_map(|line| line.strip_prefix("$ tributary device "));
    let fleets: Vec<Child> = lines
        .map(|line| {
            Command::new(env!("CARGO_BIN_EXE_tributary"))
                .arg("device")
                .args(line.split_whitespace())
                .args(["--coordinator", &served.url, "--format", "json"])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    assert_eq!(fleets.len(), 2, "the README starts devices in two regions");
    fleets
}

/// Stops devices and reads what they count.
fn stopped(fleet: Child) -> Value {
    let pid = fleet.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    serde_json::from_slice(&fleet.wait_with_output().unwrap().stdout).unwrap()
}

/// The quickstart with three rounds and little noise, so that what devices learn is seen.
fn recipe(folder: &Path) -> String {
    let mut recipe: toml::Table = toml::from_str(RECIPE).unwrap();
    let mut set = |section: &str, key: &str, value: toml::Value| {
        recipe[section].as_table_mut().unwrap()[key] = value;
    };
    set("rounds", "count", 3.into());
    set("rounds", "max_participations", 2.into());
    set("privacy", "noise_multiplier", 0.05.into());
    set("privacy", "epsilon", 1_000.0.into());
    let path = folder.join("quickstart.toml");
    std::fs::write(&path, toml::to_string(&recipe).unwrap()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The parameters of a version: what follows the header of its safetensors file.
fn parameters(served: &Served, digest: &str, folder: &Path) -> Vec<f32> {
    let file = folder.join(digest);
    let out = file.to_str().unwrap();
    assert_eq!(served.ask(&["model", "export", digest, "--out", out]).0, 0);
    let bytes = std::fs::read(&file).unwrap();
    let (length, rest) = bytes.split_first_chunk::<8>().unwrap();
    let values = rest[u64::from_le_bytes(*length) as usize..].chunks_exact(4);
    let value = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
    values.map(value).collect()
}

#[test]
fn the_devices_of_the_readme_train_in_time_and_move_the_quickstarts_model() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start();
    let fleets = devices(&served);
    let started = served.json(&["run", "start", &recipe(folder.path())]);
    let run = started["run"].as_str().unwrap();
    let (code, stdout, stderr) = served.ask(&["run", "watch", run]);
    assert_eq!(code, 0, "{stdout}{stderr}");

    let shown = served.json(&["run", "show", run]);
    let rounds = shown["round_log"].as_array().unwrap();
    let version = |round: &Value| round["model_version"].as_str().unwrap().to_owned();
    let published: Vec<String> = rounds
        .iter()
        .map(version)
        .filter(|v| !v.is_empty())
        .collect();
    let first = parameters(&served, &published[0], folder.path());
    let last = parameters(&served, published.last().unwrap(), folder.path());
    let moved = first
        .iter()
        .zip(&last)
        .map(|(a, b)| (a - b).powi(2))
        .sum::<f32>()
        .sqrt();
    // the noise alone moves it by 0.05 x 0.3 / 140 x sqrt(5063) x 0.5, with its momentum about 0.01
    assert!(moved > 0.03, "moved by {moved}");

    let (mut counted, mut empty) = (0, 0);
    for events in fleets.into_iter().map(stopped) {
        let count = |name: &str| events["events"][name].as_u64().unwrap_or(0);
        counted += count("upload.counted");
        empty += count("constant_form.late");
    }
    assert!(counted >= 300, "{counted}");
    // a machine that is busy may make one late
    assert!(
        empty * 10 < counted,
        "{empty} of {counted} answers had nothing in them"
    );
}
