//! What an operator does with a data folder: check, migrate, repair; and what `serve` refuses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::hand::{hands, update};
use crate::harness::process::{Process, tributary};
use crate::harness::{Operator, Recipe, channel};

/// Runs a command to its end, which has to come within a minute, with JSON on standard output.
fn run(words: &[&str], data: &Path) -> (Option<i32>, Value, String) {
    let mut command = tributary();
    command.args(["--format", "json"]).args(words);
    let mut child = command
        .arg("--data")
        .arg(data)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(60) {
            // a `serve` that should have refused
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    let answer = serde_json::from_slice(&stdout).unwrap_or(Value::Null);
    let errors = String::from_utf8(stderr).unwrap();
    (status.code(), answer, errors)
}

/// A data folder with a run in mid-round: two receipts given, then `kill -9`.
async fn in_mid_round(data: &Path) -> String {
    let process = Process::serve(data, "127.0.0.1:0");
    let operator = Operator::new(channel(&process.endpoint()).await);
    let mut connected = hands(&operator.channel, 3).await;
    let run = operator.start(&Recipe::new().rounds(2, 3)).await;
    for (number, (hand, session)) in connected.iter_mut().enumerate().take(2) {
        let order = session.assignment().await;
        hand.counted(&order, &update(number as u64)).await;
    }
    process.kill();
    run
}

fn blob_files(data: &Path, part: &str) -> Vec<PathBuf> {
    let shards = fs::read_dir(data.join(part).join("blobs")).unwrap();
    shards
        .flat_map(|shard| fs::read_dir(shard.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_checked_and_moved_between_engines_and_the_same_round_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let run_id = in_mid_round(&data).await;
    let (code, report, _) = run(&["store", "check"], &data);
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(report["sound"], true);
    let first = report["store"]["engine"].as_str().unwrap().to_owned();
    assert!(report["blobs"]["named"].as_u64().unwrap() >= 1, "{report}");
    assert!(report["vault"]["named"].as_u64().unwrap() >= 2, "{report}");
    let other = if first == "sled" { "redb" } else { "sled" };
    for to in [other, first.as_str()] {
        let (code, done, errors) = run(&["store", "migrate", "--to", to], &data);
        assert_eq!(code, Some(0), "{errors}");
        assert_eq!(done["to"], to);
        let from = if to == "sled" { "redb" } else { "sled" };
        let refused = tributary()
            .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .env("TRIBUTARY__STORE__ENGINE", from)
            .arg("--data")
            .arg(&data)
            .output()
            .unwrap();
        assert_eq!(refused.status.code(), Some(1));
        let text = String::from_utf8(refused.stderr).unwrap();
        let remedy = format!("--to {from}");
        assert!(text.contains("tributary store migrate --data"), "{text}");
        assert!(
            text.contains(&remedy) && text.contains("TRB-0502"),
            "{text}"
        );

        let process = Process::serve(&data, "127.0.0.1:0");
        let operator = Operator::new(channel(&process.endpoint()).await);
        let shown = operator.show(&run_id).await;
        let round = shown.rounds.last().unwrap();
        assert_eq!((round.round, round.counted), (1, 2), "on {to}");
        process.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_names_each_damaged_and_each_missing_blob_and_exits_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    in_mid_round(&data).await;
    for part in ["blobs", "vault"] {
        let file = blob_files(&data, part).pop().unwrap();
        let whole = fs::read(&file).unwrap();
        let mut changed = whole.clone();
        changed[whole.len() / 2] ^= 1;
        fs::write(&file, changed).unwrap();
        let name = format!(
            "{}{}",
            file.parent().unwrap().file_name().unwrap().display(),
            file.file_name().unwrap().display()
        );
        let (code, report, _) = run(&["store", "check"], &data);
        assert_eq!((code, &report["sound"]), (Some(1), &Value::Bool(false)));
        // a snapshot that can't be read leaves its run unread: that is named instead
        let is_named = report[part]["damaged"].get(&name).is_some()
            || report["runs"].to_string().contains(&name);
        assert!(is_named, "{name} is not in {report}");
        fs::remove_file(&file).unwrap();
        let (code, report, _) = run(&["store", "check"], &data);
        assert_eq!(code, Some(1));
        let is_named = report[part]["missing"].get(&name).is_some()
            || report["runs"].to_string().contains(&name);
        assert!(is_named, "{name} is not in {report}");
        fs::write(&file, whole).unwrap();
        let (code, report, _) = run(&["store", "check"], &data);
        assert_eq!(code, Some(0), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_rolled_back_is_not_served_and_nothing_is_swept_until_it_is_repaired() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    drop(Process::serve(&data, "127.0.0.1:0"));
    let meta = data.join("meta");
    let engine = if meta.join("db").is_dir() {
        "db"
    } else {
        "redb"
    };
    let older = folder.path().join("older");
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .args([&meta.join(engine), &older])
        .status()
        .unwrap();
    assert!(copied.success());
    in_mid_round(&data).await;
    fs::remove_dir_all(meta.join(engine)).unwrap();
    fs::rename(&older, meta.join(engine)).unwrap();
    let blobs = [blob_files(&data, "blobs"), blob_files(&data, "vault")];

    let refused = run(
        &["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
        &data,
    );
    assert_eq!(refused.0, Some(1));
    for word in ["were acknowledged and are gone", "store check", "TRB-0501"] {
        assert!(refused.2.contains(word), "{word:?}: {}", refused.2);
    }
    let (code, report, _) = run(&["store", "check"], &data);
    assert_eq!(code, Some(1));
    assert!(report["store"]["problems"][0].is_string(), "{report}");
    assert_eq!(
        [blob_files(&data, "blobs"), blob_files(&data, "vault")],
        blobs,
        "something was swept"
    );
    let (code, done, _) = run(&["store", "repair"], &data);
    assert_eq!(code, Some(1), "records are lost: {done}");
    assert_eq!(done["ledger_trusted"], false);
    assert!(Path::new(done["kept"].as_str().unwrap()).is_dir());
    let again = run(&["store", "repair"], &data);
    assert_eq!((again.0, &again.1["kept"]), (Some(0), &Value::Null));
    for verb in ["check", "repair"] {
        let (code, _, errors) = run(&["store", verb], &folder.path().join("nothing"));
        assert_eq!(code, Some(2), "{errors}");
    }
}

/// What a command that was refused says.
fn said(words: &[&str], data: &Path) -> String {
    let (code, answer, errors) = run(words, data);
    assert_eq!(code, Some(1), "{words:?}: {answer} {errors}");
    errors
}

const SERVE: [&str; 5] = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_format_beside_a_database_is_damage_that_a_repair_mends() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let run_id = in_mid_round(&data).await;
    fs::write(data.join("meta/FORMAT"), "tributary-store 2\nengine rodb\n").unwrap();
    let refused = said(&SERVE, &data);
    assert!(!refused.contains("choose an empty"), "{refused}");
    for word in ["FORMAT", "was changed", "store repair", "TRB-0501"] {
        assert!(refused.contains(word), "{word:?}: {refused}");
    }
    let (code, report, _) = run(&["store", "check"], &data);
    assert_eq!(code, Some(1));
    assert!(
        report["store"]["problems"][0]
            .as_str()
            .unwrap()
            .contains("FORMAT"),
        "{report}"
    );
    let (code, done, errors) = run(&["store", "repair"], &data);
    assert_eq!(
        (code, &done["ledger_trusted"]),
        (Some(0), &Value::Bool(true)),
        "{errors}"
    );
    let process = Process::serve(&data, "127.0.0.1:0");
    let operator = Operator::new(channel(&process.endpoint()).await);
    assert_eq!(
        operator.show(&run_id).await.rounds.last().unwrap().counted,
        2
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_that_is_gone_is_said_by_all_commands_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    in_mid_round(&data).await;
    for emptied in [true, false] {
        fs::remove_dir_all(data.join("meta")).unwrap();
        if emptied {
            fs::create_dir(data.join("meta")).unwrap();
        }
        for words in [&SERVE[..], &["store", "check"], &["store", "repair"]] {
            let refused = said(words, &data);
            for word in ["is gone", "backup", "tributary restore", "TRB-0501"] {
                assert!(refused.contains(word), "{words:?}, {word:?}: {refused}");
            }
            assert!(!refused.contains("store check"), "in a circle: {refused}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registered_models_without_files_are_named_on_readyz() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    in_mid_round(&data).await;
    fs::remove_dir_all(data.join("blobs")).unwrap();
    let process = Process::serve(&data, "127.0.0.1:0");
    let (status, page) = process.page("/readyz").unwrap();
    assert_eq!(status, 200);
    assert!(
        page.starts_with("degraded\nmodels: 1 of 1 registered"),
        "{page}"
    );
    assert!(page.contains("backup"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_advises_what_mends_what_it_found() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let run_id = in_mid_round(&data).await;
    for file in blob_files(&data, "vault") {
        fs::remove_file(file).unwrap();
    }
    let (code, report, _) = run(&["store", "check"], &data);
    assert_eq!(
        (code, &report["set_aside"][0]),
        (Some(1), &Value::from(run_id.as_str()))
    );
    let told = tributary()
        .args(["store", "check", "--data"])
        .arg(&data)
        .output();
    let told = String::from_utf8(told.unwrap().stdout).unwrap();
    let remedy = format!("tributary run stop {run_id}");
    assert!(
        told.contains(&remedy) && !told.contains("store repair"),
        "{told}"
    );
    // what it says is what helps
    let process = Process::serve(&data, "127.0.0.1:0");
    let operator = Operator::new(channel(&process.endpoint()).await);
    operator.stop(&run_id).await.unwrap();
    process.kill();
    let (code, report, _) = run(&["store", "check"], &data);
    assert_eq!(code, Some(0), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_start_answers_its_admin_page_or_refuses_the_connection() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    in_mid_round(&data).await;
    fs::write(data.join("meta/FORMAT"), "changed").unwrap();
    let admin = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for _ in 0..5 {
        let mut child = tributary()
            .args(["serve", "--listen", "127.0.0.1:0", "--admin"])
            .arg(admin.to_string())
            .arg("--data")
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut empty = 0;
        while child.try_wait().unwrap().is_none() {
            empty += u32::from(asked(admin) == Some(String::new()));
        }
        let ended = child.wait().unwrap();
        assert_eq!((ended.code(), empty), (Some(1), 0), "empty answers");
    }
}

/// What a page answers; none when the connection is refused or reset.
fn asked(admin: std::net::SocketAddr) -> Option<String> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(admin).ok()?;
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
