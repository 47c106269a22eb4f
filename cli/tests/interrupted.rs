//! Ctrl-C of what serves a coordinator of its own: a word, an exit code, and nothing left behind.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longest that anything is waited for; a test that gets there has failed.
const PATIENCE: Duration = Duration::from_secs(120);
/// The exit code of work that was stopped before its end.
const INCOMPLETE: i32 = 5;

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

fn interrupt(child: &Child) {
    send("-INT", child);
}

fn send(signal: &str, child: &Child) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args([signal, &pid]).status();
    assert!(sent.unwrap().success());
}

/// Starts a command whose temporary folders are in `temporary`, and waits until it has one.
fn at_work(words: &[&str], temporary: &Path) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tributary"))
        .args(words)
        .env_remove("RUST_LOG")
        .env("TMPDIR", temporary)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while is_empty(temporary) {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        assert!(begun.elapsed() < PATIENCE, "it makes no folder");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

/// Checks what was said and left of a command that was interrupted before there was anything to report.
fn ended_in_order(output: &Output, temporary: &Path, report: &Path) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(INCOMPLETE), "{said}");
    for words in ["stopping in good order", "interrupted"] {
        assert!(said.contains(words), "{words:?} is missing in: {said}");
    }
    assert!(output.stdout.is_empty(), "no answer: {output:?}");
    assert!(is_empty(temporary), "a folder is left in {temporary:?}");
    assert!(!report.join("report.html").exists());
}

fn first_ctrl_c(words: &[&str]) {
    first("-INT", words);
}

fn first(signal: &str, words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let (temporary, report) = (folder.path().join("tmp"), folder.path().join("report"));
    std::fs::create_dir(&temporary).unwrap();
    let words = [words, &[report.to_str().unwrap()]].concat();
    let child = at_work(&words, &temporary);
    send(signal, &child);
    ended_in_order(&child.wait_with_output().unwrap(), &temporary, &report);
}

const EXPERIMENT: [&str; 4] = ["experiment", "run", "digits-iid-dirichlet", "--out"];

#[test]
fn ctrl_c_of_an_experiment_leaves_a_word_and_no_folder() {
    first_ctrl_c(&EXPERIMENT);
}

#[test]
fn ctrl_c_of_a_demo_leaves_a_word_and_no_folder() {
    first_ctrl_c(&["demo", "--devices", "2000", "--seed", "7", "--report"]);
}

#[test]
fn a_terminal_that_is_closed_leaves_no_folder_either() {
    first("-HUP", &EXPERIMENT);
}

#[test]
fn a_second_ctrl_c_ends_at_once_and_leaves_no_folder_either() {
    let folder = tempfile::tempdir().unwrap();
    let (temporary, report) = (folder.path().join("tmp"), folder.path().join("report"));
    std::fs::create_dir(&temporary).unwrap();
    let words = [&EXPERIMENT[..], &[report.to_str().unwrap()]].concat();
    let child = at_work(&words, &temporary);
    interrupt(&child);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(INCOMPLETE), "{output:?}");
    assert!(is_empty(&temporary), "a folder is left");
}
