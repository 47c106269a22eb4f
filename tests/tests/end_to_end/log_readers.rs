//! Who reads the log, and whether anybody can, decides nothing: the coordinator serves, and ends when asked.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tonic::Code;

use crate::harness::process::{Process, tributary};
use crate::harness::{Operator, PATIENCE, within};

/// Calls whose lines are more than what may wait for a reader.
const LINES_THAT_FILL: usize = 400;

/// A server that says something for each of a few connections.
fn talkative(folder: &std::path::Path, log: impl Into<Stdio>) -> Process {
    let environment = [
        ("TRIBUTARY__LIMITS__CONNECTIONS", "4"),
        ("RUST_LOG", "trace"),
    ];
    Process::serve_within(&folder.join("data"), "127.0.0.1:0", log, environment)
}

/// More connections come than there are places: the task that takes them writes to the log.
async fn crowd(process: &Process) {
    let mut held = Vec::new();
    for _ in 0..12 {
        held.push(TcpStream::connect(&process.address).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
}

/// Somebody connects and is answered.
async fn is_served(process: &Process) {
    let answered = async {
        loop {
            let endpoint = tonic::transport::Endpoint::from_shared(process.endpoint()).unwrap();
            if let Ok(channel) = endpoint.connect().await {
                let answer = Operator::new(channel).try_show("x-1").await;
                if answer.is_err_and(|status| status.code() == Code::NotFound) {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within("an answer in spite of the log", answered).await;
    assert_eq!(process.page("/readyz"), Some((200, "ok\n".to_owned())));
}

fn terminated(process: &mut Process) -> std::process::ExitStatus {
    let pid = process.pid().to_string();
    let asked = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(asked.unwrap().success());
    process.ended()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_can_t_be_written_does_not_end_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut process = talkative(folder.path(), full);
    crowd(&process).await;
    is_served(&process).await;
    assert!(terminated(&mut process).success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_reader_is_gone_does_not_end_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut process = talkative(folder.path(), writer);
    drop(reader);
    crowd(&process).await;
    is_served(&process).await;
    assert!(terminated(&mut process).success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_reader_pauses_holds_nobody_up_and_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let process = talkative(folder.path(), writer);
    for _ in 0..4 {
        crowd(&process).await;
        is_served(&process).await;
    }
    // every line costs some of the megabyte that may wait
    for _ in 0..LINES_THAT_FILL {
        is_served(&process).await;
    }
    let reading = tokio::task::spawn_blocking(move || {
        let (mut text, mut piece) = (Vec::new(), [0; 65_536]);
        while !String::from_utf8_lossy(&text).contains("of the log are missing") {
            let length = reader.read(&mut piece).unwrap();
            assert!(length > 0, "the log ended without it");
            text.extend_from_slice(&piece[..length]);
        }
        reader
    });
    is_served(&process).await;
    let reader = within("the line that says what is missing", reading).await;
    drop(reader);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_stuck_does_not_keep_the_process_from_ending() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut process = talkative(folder.path(), writer);
    crowd(&process).await;
    is_served(&process).await;
    let begun = Instant::now();
    assert!(terminated(&mut process).success());
    assert!(begun.elapsed() < PATIENCE);
    drop(reader);
}

#[test]
fn a_start_that_fails_over_a_full_log_has_its_exit_code() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let ended = tributary()
        .args(["serve", "--data", "/dev/null", "--listen", "127.0.0.1:0"])
        .args(["--admin", "127.0.0.1:0"])
        .stderr(full)
        .status()
        .unwrap();
    assert_eq!((ended.code(), ended.signal()), (Some(1), None));
}
