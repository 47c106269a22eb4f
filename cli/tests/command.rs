//! The `tributary` binary as scripts see it: exit codes, standard output, sentences on errors.
#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

mod support;

use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{Served, parts, tributary};

const RECIPE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../experiments/recipes/quickstart.toml"
);

/// An address where nothing listens.
fn silent_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn a_wrong_command_line_exits_with_2_and_names_the_flag() {
    for (words, word) in [
        (vec!["run", "show"], "<RUN>"),
        (vec!["device", "--region", "eu"], "--count"),
        (vec!["serve", "--listen", "nowhere"], "--listen"),
        (vec!["fly"], "fly"),
    ] {
        let (code, stdout, stderr) = parts(&tributary(&words));
        assert_eq!((code, stdout.as_str()), (2, ""), "{words:?}");
        assert!(stderr.contains(word), "{stderr}");
    }
}

#[test]
fn a_silent_coordinator_exits_with_3_and_says_how_to_start_one() {
    let url = silent_address();
    for words in [
        &["run", "ls"][..],
        &["run", "watch", "r"],
        &["fleet", "ls"],
        &["privacy", "show"],
    ] {
        let (code, stdout, stderr) = parts(&tributary(&[words, &["--coordinator", &url]].concat()));
        assert_eq!((code, stdout.as_str()), (3, ""), "{words:?}: {stderr}");
        assert!(
            stderr.contains("tributary serve") && stderr.contains(&url),
            "{stderr}"
        );
    }
    let (code, _, stderr) = parts(&tributary(&[
        "run",
        "ls",
        "--coordinator",
        &url,
        "--format",
        "json",
    ]));
    let error: Value = serde_json::from_str(&stderr).unwrap();
    assert_eq!((code, error["exit"].as_u64()), (3, Some(3)));
}

#[test]
fn a_refusal_exits_with_4_and_carries_its_code() {
    let served = Served::start();
    for words in [
        &["run", "show", "no-such-run"][..],
        &["run", "stop", "no-such-run"],
        &["run", "watch", "no-such-run"],
        &["model", "show", "abcdef"],
        &["model", "export", "abcdef", "--out", "/nonexistent/model"],
    ] {
        let (code, stdout, stderr) = served.ask(words);
        assert_eq!((code, stdout.as_str()), (4, ""), "{words:?}: {stderr}");
        assert!(
            stderr.starts_with("error: ") && stderr.contains("[TRB-"),
            "{stderr}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("recipe.toml");
    std::fs::write(&recipe, "name = \"x\"\nno_such_key = 1\n").unwrap();
    let (code, _, stderr) = served.ask(&["run", "start", recipe.to_str().unwrap()]);
    assert_eq!(code, 4);
    assert!(stderr.contains("no_such_key"), "{stderr}");
    let (code, _, stderr) = served.ask(&["model", "import", recipe.to_str().unwrap()]);
    assert_eq!(code, 4, "{stderr}");
}

#[test]
fn a_file_that_is_no_model_is_called_so() {
    let served = Served::start();
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let (code, _, stderr) = served.ask(&["model", "import", readme]);
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains("no safetensors file"), "{stderr}");
    assert!(!stderr.contains("header of"), "{stderr}");
}

#[test]
fn a_cap_of_a_region_that_nobody_is_in_is_set_and_said_to_bind_nobody_yet() {
    let served = Served::start();
    let cap = ["privacy", "cap", "--epsilon", "4", "--delta", "1e-6"];
    let in_region = [&cap[..], &["--region", "atlantis"]].concat();
    let (code, stdout, stderr) = served.ask(&in_region);
    assert_eq!(code, 0, "{stderr}");
    let told = "no device is enrolled in region \"atlantis\" yet";
    assert!(stdout.contains(told), "{stdout}");
    let json = served.json(&in_region);
    assert!(
        json["warnings"][0].as_str().unwrap().contains(told),
        "{json}"
    );
    assert_eq!(json["caps"][0]["region"], "atlantis");
    let everywhere = served.json(&cap);
    assert_eq!(everywhere["warnings"], Value::Array(Vec::new()));
}

#[test]
fn a_recipe_of_a_run_that_is_given_to_experiment_is_told_where_it_belongs() {
    let words = ["experiment", "run", RECIPE, "--out", "never-made"];
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tributary"))
        .args(words)
        .current_dir(&folder)
        .output()
        .unwrap();
    let (code, _, stderr) = parts(&output);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("`tributary run start`"), "{stderr}");
}

#[test]
fn a_place_that_cannot_be_written_is_refused_before_the_work_with_its_cause_once() {
    let begun = std::time::Instant::now();
    for words in [
        &["demo", "--report", "/proc/x"][..],
        &["demo", "--out", "/proc/x"],
        &["experiment", "run", "digits-non-iid", "--out", "/proc/x"],
        &["experiment", "run", "attack-laboratory", "--out", "/proc/x"],
        &["experiment", "run", "privacy-audit", "--report", "/proc/x"],
    ] {
        let (code, stdout, stderr) = parts(&tributary(words));
        assert_eq!((code, stdout.as_str()), (1, ""), "{words:?}: {stderr}");
        assert!(stderr.contains("/proc/x: it can't be written"), "{stderr}");
        assert_eq!(stderr.matches("os error").count(), 1, "{stderr}");
    }
    assert!(begun.elapsed().as_secs() < 30, "nothing was worked for");
}

#[test]
fn lists_of_a_new_coordinator_are_empty_in_json_and_say_so_to_people() {
    let served = Served::start();
    assert_eq!(
        served.json(&["run", "ls"])["runs"],
        Value::Array(Vec::new())
    );
    assert_eq!(
        served.json(&["model", "ls"])["models"],
        Value::Array(Vec::new())
    );
    assert_eq!(served.json(&["fleet", "ls"])["enrolled"], 0);
    assert_eq!(
        served.json(&["drift", "show"])["monitors"],
        Value::Array(Vec::new())
    );
    assert_eq!(
        served.json(&["privacy", "show"])["accounts"],
        Value::Array(Vec::new())
    );
    let (code, stdout, _) = served.ask(&["run", "ls"]);
    assert_eq!(
        (code, stdout.contains("tributary run start")),
        (0, true),
        "{stdout}"
    );
}

#[test]
fn a_run_that_is_stopped_ends_a_watch_with_5() {
    let served = Served::start();
    let run = served.json(&["run", "start", RECIPE]);
    let run = run["run"].as_str().unwrap();
    let shown = served.json(&["run", "show", run]);
    assert_eq!(shown["run"], run);
    assert_eq!(shown["state"], "running");
    assert_eq!(shown["contributions_total"], 0);
    assert_eq!(served.json(&["run", "stop", run])["state"], "stopped");
    let (code, stdout, _) = served.ask(&["run", "watch", run, "--format", "json"]);
    assert_eq!(code, 5);
    let last: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["event"], &last["state"]),
        (&"run".into(), &"stopped".into())
    );
}

#[test]
fn devices_connect_and_print_what_happened() {
    let served = Served::start();
    let words = [
        "device", "--count", "4", "--region", "eu", "--for", "2", "--format", "json",
    ];
    let (code, stdout, stderr) = served.ask(&words);
    assert_eq!(code, 0, "{stderr}");
    let stats: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (&stats["devices"], &stats["refused"]),
        (&4.into(), &0.into()),
        "{stats}"
    );
    assert_eq!(served.json(&["fleet", "ls"])["enrolled"], 4);
}

#[test]
fn devices_without_a_coordinator_say_so_once_and_exit_with_3_when_their_time_is_over() {
    let url = silent_address();
    let words = ["device", "--count", "2", "--region", "eu", "--for", "5"];
    let (code, _, stderr) = parts(&tributary(&[&words[..], &["--coordinator", &url]].concat()));
    assert_eq!(code, 3, "{stderr}");
    let said = format!("no coordinator answers at {url}: start one with `tributary serve`");
    let trying = stderr.lines().filter(|line| line.ends_with("trying again"));
    let trying: Vec<&str> = trying.collect();
    assert_eq!(trying.len(), 1, "{stderr}");
    assert!(trying[0].starts_with(&said), "{stderr}");
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let serve = |data: &Path, listen: &str| {
        let data = data.to_str().unwrap();
        parts(&tributary(&[
            "serve",
            "--data",
            data,
            "--listen",
            listen,
            "--admin",
            "127.0.0.1:0",
        ]))
    };
    for (outcome, word) in [
        (serve(&data, &taken), "free port"),
        (serve(&data, "0.0.0.0:0"), "loopback"),
        (serve(&file, "127.0.0.1:0"), file.to_str().unwrap()),
    ] {
        let (code, _, stderr) = outcome;
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains(word), "{word}: {stderr}");
    }
    drop(holder);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let served = Served::start();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
    command.args(["run", "ls", "--coordinator", &served.url]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(stderr, "");
}

#[test]
fn output_that_is_no_terminal_has_no_colours() {
    let served = Served::start();
    let (_, stdout, stderr) = served.ask(&["run", "ls"]);
    let (_, _, refused) = served.ask(&["run", "show", "x"]);
    assert!(![stdout, stderr, refused].concat().contains('\x1b'));
}
