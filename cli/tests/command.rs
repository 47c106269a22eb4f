//! The `tributary` binary as scripts see it: exit codes, standard output, sentences on errors.
#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

const RECIPE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../experiments/recipes/quickstart.toml"
);

fn tributary(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
    command.args(words).stdin(Stdio::null());
    command
        .env_remove("TRIBUTARY_COORDINATOR")
        .env_remove("RUST_LOG");
    command.output().unwrap()
}

/// Exit code, standard output, standard error.
fn parts(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// A coordinator on a free port; stopped in order when dropped.
struct Served {
    process: Child,
    url: String,
    _data: tempfile::TempDir,
}

impl Served {
    fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_tributary"))
            .args([
                "serve",
                "--format",
                "json",
                "--listen",
                "127.0.0.1:0",
                "--admin",
                "127.0.0.1:0",
            ])
            .arg("--data")
            .arg(data.path().join("data"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let announced: Value = serde_json::from_str(&line).unwrap();
        let listen = announced["listen"].as_str().unwrap().to_owned();
        Self {
            process,
            url: format!("http://{listen}"),
            _data: data,
        }
    }

    /// A client verb against this coordinator.
    fn ask(&self, words: &[&str]) -> (i32, String, String) {
        parts(&tributary(&[words, &["--coordinator", &self.url]].concat()))
    }

    fn json(&self, words: &[&str]) -> Value {
        let (code, stdout, stderr) = self.ask(&[words, &["--format", "json"]].concat());
        assert_eq!(code, 0, "{words:?}: {stderr}");
        serde_json::from_str(&stdout).unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .arg(self.process.id().to_string())
            .status();
        let _ = self.process.wait();
    }
}

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
