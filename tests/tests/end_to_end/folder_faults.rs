//! Data folders that somebody has changed by hand, or left half mended: what is refused, and what it advises.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tonic::Code;
use tributary_proto::v1::RunState;
use tributary_store::{Batch, EmbeddedStore, Expect, Store as _, Table};

use crate::harness::hand::{hands, update};
use crate::harness::operator::{assert_refusal, of};
use crate::harness::process::{Process, tributary};
use crate::harness::{Operator, Recipe, channel};

const SERVE: [&str; 5] = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
const CHECK: [&str; 2] = ["store", "check"];

/// Exit code and all text of a command on a data folder, which must end by itself.
fn run(words: &[&str], data: &Path) -> (Option<i32>, String) {
    let mut command = tributary();
    command.args(words).arg("--data").arg(data);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn refused(words: &[&str], data: &Path, said: &[&str]) {
    let (code, text) = run(words, data);
    assert_eq!(code, Some(1), "{words:?}: {text}");
    for word in said {
        assert!(text.contains(word), "{words:?}, {word:?}: {text}");
    }
}

/// A server whose metadata an engine holds.
fn serve(data: &Path, engine: &str) -> Process {
    let environment = [("TRIBUTARY__STORE__ENGINE", engine)];
    Process::serve_within(data, "127.0.0.1:0", Stdio::null(), environment)
}

#[test]
fn a_lock_that_is_removed_lets_no_second_server_in() {
    for engine in ["sled", "redb"] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut first = serve(&data, engine);
        fs::remove_file(data.join("meta/LOCK")).unwrap();
        for words in [&SERVE[..], &CHECK] {
            refused(words, &data, &["in use by another process"]);
        }
        assert!(first.is_alive());
    }
}

#[test]
fn a_pipe_or_a_folder_in_the_place_of_a_file_is_refused_by_name() {
    for name in ["LOCK", "FORMAT", "anchor", "redb/store.redb"] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        serve(&data, "redb").kill();
        let path = data.join("meta").join(name);
        fs::remove_file(&path).unwrap();
        let made = Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        for words in [&SERVE[..], &CHECK] {
            refused(words, &data, &[name, "no regular file"]);
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        for words in [&SERVE[..], &CHECK] {
            refused(words, &data, &[name, "no regular file"]);
        }
    }
}

#[test]
fn a_database_that_is_gone_is_not_made_anew_and_only_a_backup_is_advised() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    serve(&data, "redb").kill();
    let file = data.join("meta/redb/store.redb");
    fs::remove_file(&file).unwrap();
    refused(&CHECK, &data, &["store.redb is gone", "backup"]);
    refused(&SERVE, &data, &["store.redb is gone", "TRB-0501"]);
    let (code, told) = run(&["store", "repair"], &data);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("only a backup helps"), "{told}");
    let in_a_circle = told.contains("store repair") || told.contains("store check");
    assert!(!in_a_circle, "{told}");
    assert!(!file.exists() && !data.join("meta.before-repair-1").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_run_that_is_over_the_short_record_is_shown_when_its_snapshot_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = Process::serve(&data, "127.0.0.1:0");
    let operator = Operator::new(channel(&process.endpoint()).await);
    let mut devices = hands(&operator.channel, 2).await;
    let id = operator.start(&Recipe::new().rounds(1, 2)).await;
    for (number, (hand, session)) in (0..).zip(devices.iter_mut()) {
        let order = session.assignment().await;
        hand.counted(&order, &update(number)).await;
    }
    let whole = operator.completed(&id).await;
    process.kill();
    fs::remove_dir_all(data.join("vault")).unwrap();

    let (code, told) = run(&CHECK, &data);
    assert_eq!(code, Some(1), "{told}");
    let advice = format!("run {id} is over and its model versions are kept");
    assert!(
        told.contains(&advice) && !told.contains("run stop"),
        "{told}"
    );

    let process = Process::serve(&data, "127.0.0.1:0");
    let operator = Operator::new(channel(&process.endpoint()).await);
    let shown = operator.show(&id).await;
    assert_eq!(of(&shown).state(), RunState::Completed);
    assert_eq!(of(&shown).model_digest, of(&whole).model_digest);
    assert!(shown.rounds.is_empty());
    let warnings = of(&shown).warnings.join("\n");
    assert!(warnings.contains("can't be shown"), "{warnings}");
    let stopped = operator.stop(&id).await.unwrap_err();
    let words = ["is over (completed)", "nothing left to stop"];
    assert_refusal(&stopped, Code::FailedPrecondition, "TRB-0300", &words);
    let newest = of(&shown).model_digest.clone();
    assert!(!operator.download(&newest, 0).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_whose_restore_was_cut_off_is_halted_until_it_is_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    Process::serve(&data, "127.0.0.1:0").kill();
    let store = EmbeddedStore::open(data.join("meta"), None).unwrap();
    let mut batch = Batch::new();
    let begun = serde_json::json!({ "epoch": 9, "unix_ms": 1, "caps_void": false });
    batch
        .put_json(Table::Meta, "restore-begun", &begun, Expect::Absent)
        .unwrap();
    store.commit(batch).await.unwrap();
    tokio::task::spawn_blocking(move || drop(store))
        .await
        .unwrap();

    let words = ["was cut off", "`tributary restore --data"];
    refused(&CHECK, &data, &words);
    let process = Process::serve(&data, "127.0.0.1:0");
    let (code, page) = process.page("/readyz").unwrap();
    assert!(code == 503 && page.contains("was cut off"), "{page}");
    process.kill();
    let (code, told) = run(&["restore"], &data);
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = run(&CHECK, &data);
    assert_eq!(code, Some(0), "{told}");
    let process = Process::serve(&data, "127.0.0.1:0");
    assert_eq!(process.page("/readyz"), Some((200, "ok\n".to_owned())));
}
