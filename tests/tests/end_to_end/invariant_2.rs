//! What has a receipt is in the release; `kill -9` changes nothing; the same round goes on.

use std::time::Duration;

use tributary_device_sim::{Behaviour, Pace, SimDevice};
use tributary_proto::v1::{GetRunResponse, RejectReason};

use crate::harness::hand::{hands, update};
use crate::harness::operator::of;
use crate::harness::process::Process;
use crate::harness::{Hand, Operator, Recipe, Session, channel, fleet};
use crate::invariant_1::expected;

/// The devices over another connection, each with an open stream.
async fn back(devices: &[Hand], endpoint: &str) -> Vec<(Hand, Session)> {
    let here = channel(endpoint).await;
    let mut connected = Vec::new();
    for hand in devices {
        let hand = hand.over(&here);
        let session = hand.connect().await;
        connected.push((hand, session));
    }
    connected
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_2_a_receipt_survives_kill_nine_and_the_same_round_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut process = Process::serve(&data, "127.0.0.1:0");
    let mut operator = Operator::new(channel(&process.endpoint()).await);
    let mut connected = hands(&operator.channel, 4).await;
    let devices: Vec<Hand> = connected.iter().map(|(hand, _)| hand.clone()).collect();
    let run = operator.start(&Recipe::new().rounds(3, 4)).await;
    for round in 1..=3_u32 {
        let update = |number: usize| update(u64::from(round) * 10 + number as u64);
        let mut base = String::new();
        for (number, (hand, session)) in connected.iter_mut().enumerate().take(2) {
            let order = session.assignment().await;
            assert_eq!(order.round, round);
            hand.counted(&order, &update(number)).await;
            base = order.model_digest;
        }
        // in mid-round, with two receipts given
        let address = process.kill();
        process = Process::serve(&data, &address);
        operator = Operator::new(channel(&process.endpoint()).await);
        let shown = operator.show(&run).await;
        let open = shown.rounds.last().unwrap();
        assert_eq!(
            (open.round, open.counted, open.phase.as_str()),
            (round, 2, "collecting")
        );
        connected = back(&devices, &process.endpoint()).await;
        for number in [2, 3] {
            let order = connected[number].1.assignment().await;
            assert_eq!(
                (order.round, &order.model_digest),
                (round, &base),
                "the same round goes on"
            );
            let (hand, again) = (&connected[0].0, update(0));
            hand.refused(hand.header(&order, &again), &again, RejectReason::Duplicate)
                .await;
            connected[number].0.counted(&order, &update(number)).await;
        }
        let published = |shown: &GetRunResponse| {
            let done = shown
                .rounds
                .iter()
                .filter(|round| round.phase == "published");
            done.count() == round as usize
        };
        let shown = operator.until(&run, "the release", published).await;
        let before = operator.file(&base).await;
        let after = operator.file(&of(&shown).model_digest).await;
        let updates: Vec<Vec<u8>> = (0..4).map(update).collect();
        assert_eq!(
            after.weights,
            expected(&before, &updates),
            "a receipt is not in the release"
        );
    }
    let shown = operator.completed(&run).await;
    assert_eq!(of(&shown).contributions_total, 12);
    assert_eq!(
        shown.rounds.len(),
        3,
        "no round was given up: {:#?}",
        shown.rounds
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_2_a_fleet_finishes_its_run_over_two_kills() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut process = Process::serve(&data, "127.0.0.1:0");
    // 2 epochs of 2 steps: each training lasts 0.2 s, so that a kill meets open rounds
    let slow = |device: SimDevice| SimDevice {
        behaviour: Behaviour {
            seconds_per_step: 0.05,
            pace: Pace::Real,
            ..Behaviour::default()
        },
        ..device
    };
    let devices = fleet::devices("eu", 10)
        .into_iter()
        .chain(fleet::devices("us", 10));
    let fleet = fleet::start(&process.endpoint(), 2, devices.map(slow).collect());
    fleet.wait_connected(20).await;
    let operator = Operator::new(channel(&process.endpoint()).await);
    let run = operator.start(&Recipe::private().rounds(5, 20)).await;
    for round in [2, 4] {
        let operator = Operator::new(channel(&process.endpoint()).await);
        let collecting =
            |shown: &GetRunResponse| of(shown).round == round && of(shown).phase == "collecting";
        operator.until(&run, "an open round", collecting).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let address = process.kill();
        process = Process::serve(&data, &address);
    }
    let operator = Operator::new(channel(&process.endpoint()).await);
    let shown = operator.completed(&run).await;
    let rounds: Vec<(u32, u64)> = shown
        .rounds
        .iter()
        .map(|round| (round.round, round.counted))
        .collect();
    assert_eq!(rounds, [(1, 20), (2, 20), (3, 20), (4, 20), (5, 20)]);
    let account = &operator.privacy(&run).await.accounts[0];
    assert_eq!(account.charges, 5, "each release was charged once");
    // the receipts that devices hold are those that the rounds counted
    assert!(fleet.stats().tally.count("upload.counted") >= 100);
}
