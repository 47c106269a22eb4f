//! Sums are integers: order, splits and restarts change no bit.

use std::time::Duration;

use crate::harness::hand::{hands, update};
use crate::harness::operator::of;
use crate::harness::{Coordinator, Recipe};

const DEVICES: usize = 6;

/// Two seeded rounds in which device `n` sends the same bytes whenever it is its turn.
async fn digests(
    order_of_arrival: [usize; DEVICES],
    pause: Duration,
    crashes: bool,
) -> Vec<String> {
    let mut coordinator = Coordinator::start().await;
    let mut channel = coordinator.channel().await;
    let mut devices = hands(&channel, DEVICES).await;
    let recipe = Recipe::private().rounds(2, DEVICES as i64).seeded(7);
    let optimiser = [
        ("kind", "fedavgm".into()),
        ("learning_rate", 1.0.into()),
        ("momentum", 0.9.into()),
    ];
    let optimiser: toml::Table = optimiser
        .into_iter()
        .map(|(key, value): (_, toml::Value)| (key.to_owned(), value))
        .collect();
    let recipe = recipe.set("server.optimiser", optimiser);
    let run = coordinator.operator().await.start(&recipe).await;
    for round in 1..=2_u32 {
        for (turn, &number) in order_of_arrival.iter().enumerate() {
            if crashes && turn == DEVICES / 2 {
                coordinator = coordinator.crash_and_restart().await;
                channel = coordinator.channel().await;
                let mut back = Vec::new();
                for (hand, _) in &devices {
                    let hand = hand.over(&channel);
                    let session = hand.connect().await;
                    back.push((hand, session));
                }
                devices = back;
            }
            let (hand, session) = &mut devices[number];
            let order = session.assignment().await;
            assert_eq!(order.round, round);
            hand.counted(&order, &update(u64::from(round) * 100 + number as u64))
                .await;
            tokio::time::sleep(pause).await;
        }
    }
    let shown = coordinator.operator().await.completed(&run).await;
    assert_eq!(of(&shown).contributions_total, 2 * DEVICES as u64);
    shown
        .rounds
        .into_iter()
        .map(|round| round.model_digest)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_4_any_order_of_arrival_gives_identical_bits() {
    let quick = digests([0, 1, 2, 3, 4, 5], Duration::ZERO, false).await;
    assert_eq!(quick.len(), 2);
    assert_ne!(quick[0], quick[1]);
    // a pause longer than the seal interval puts every contribution into a partial of its own
    let split = digests([5, 3, 1, 0, 2, 4], Duration::from_millis(60), false).await;
    assert_eq!(quick, split, "another order and other partials");
    let crashed = digests([2, 0, 4, 5, 1, 3], Duration::ZERO, true).await;
    assert_eq!(
        quick, crashed,
        "another order and a crash in the middle of each round"
    );
}
