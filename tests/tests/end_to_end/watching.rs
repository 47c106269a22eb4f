//! `tributary run watch`, the real command.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::harness::coordinator::files_below;
use crate::harness::hand::{hands, update};
use crate::harness::process::binary;
use crate::harness::{Coordinator, Recipe};

fn watch(coordinator: &Coordinator, run: &str) -> Child {
    Command::new(binary())
        .args(["run", "watch", run, "--format", "json", "--coordinator"])
        .arg(coordinator.endpoint())
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_that_is_published_after_an_attempt_was_given_up_is_both_lines() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, 2).await;
    let recipe = Recipe::new().rounds(2, 2).set("rounds.deadline_ms", 2_500);
    let run = operator.start(&recipe).await;
    let watching = watch(&coordinator, &run);
    let lines = tokio::task::spawn_blocking(move || {
        let output = watching.wait_with_output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        (output.status.code(), lines.collect::<Vec<Value>>())
    });
    // nobody answers the first attempt
    for round in 1..=2 {
        for (number, (hand, session)) in devices.iter_mut().enumerate() {
            let mut order = session.assignment().await;
            while order.round == 1 && order.attempt == 1 {
                order = session.assignment().await;
            }
            assert_eq!(order.round, round);
            hand.counted(&order, &update(number as u64)).await;
        }
    }
    operator.completed(&run).await;
    let (code, lines) = lines.await.unwrap();
    assert_eq!(code, Some(0));
    let rounds = lines.iter().filter(|line| line["event"] == "round");
    let rounds: Vec<(u64, u64, &str)> = rounds
        .map(|line| {
            let number = |key: &str| line[key].as_u64().unwrap();
            (
                number("round"),
                number("attempt"),
                line["phase"].as_str().unwrap(),
            )
        })
        .collect();
    let all = [(1, 1, "aborted"), (1, 2, "published"), (2, 1, "published")];
    assert_eq!(rounds, all);
    assert_eq!(lines.last().unwrap()["state"], "completed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_whose_reader_goes_away_in_mid_run_does_not_say_that_all_is_well() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, 2).await;
    let run = operator.start(&Recipe::new().rounds(3, 2)).await;
    let mut watching = watch(&coordinator, &run);
    let mut stdout = BufReader::new(watching.stdout.take().unwrap());
    let mut answer = async |round: u64| {
        for (number, (hand, session)) in devices.iter_mut().enumerate() {
            let order = session.assignment().await;
            hand.counted(&order, &update(round * 10 + number as u64))
                .await;
        }
    };
    answer(1).await;
    // `| head -n 1`
    let head = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        line
    });
    let line = head.await.unwrap();
    assert!(line.contains("\"round\":1"), "{line}");
    answer(2).await;
    let ended = tokio::task::spawn_blocking(move || watching.wait().unwrap());
    let status = ended.await.unwrap().code();
    assert_eq!(
        status,
        Some(141),
        "the run goes on, and its end was not seen"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watching_a_run_that_is_set_aside_ends_as_failed_with_the_reason() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let run = operator.start(&Recipe::new().rounds(2, 2)).await;
    let folder = coordinator.crash();
    drop(crate::quarantine::store(&folder).await);
    for (path, _) in files_below(&folder.path().join("data/vault")) {
        std::fs::remove_file(path).unwrap();
    }
    let coordinator = Coordinator::open(folder, 2).await;
    let mut watching = watch(&coordinator, &run);
    let begun = std::time::Instant::now();
    while watching.try_wait().unwrap().is_none() {
        if begun.elapsed() > crate::harness::PATIENCE {
            watching.kill().unwrap();
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let output = watching.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(last["state"], "quarantined");
    let reason = last["reason"].as_str().unwrap();
    assert!(reason.contains("tributary run stop"), "{reason}");
}
