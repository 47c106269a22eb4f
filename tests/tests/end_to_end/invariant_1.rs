//! A contribution counts at most once per round and device.

use tributary_aggregator::{
    Codec, FixedPoint, OptimiserState, Partial, ServerOptimiser, release_mean,
};
use tributary_device_sim::{Behaviour, Fault, SimDevice};
use tributary_model::ModelFile;
use tributary_proto::v1::RejectReason;
use tributary_proto::v1::upload_response::Answer;

use crate::harness::hand::{hands, update};
use crate::harness::operator::of;
use crate::harness::recipe::PARAMETERS;
use crate::harness::{Coordinator, Recipe, fleet};

/// The version that follows `base` when each of `updates` counts once, without noise.
pub fn expected(base: &ModelFile, updates: &[Vec<u8>]) -> Vec<f32> {
    let fixed = FixedPoint::new(1.0, PARAMETERS).unwrap();
    let mut sum = Partial::new(PARAMETERS);
    for update in updates {
        sum.add(&fixed.contribution(Codec::F32, update).unwrap())
            .unwrap();
    }
    let mean = release_mean(&sum, &fixed, updates.len() as f64, None).unwrap();
    let optimiser = ServerOptimiser::FedAvg { learning_rate: 1.0 };
    let mut weights = base.weights.clone();
    OptimiserState::new(optimiser, PARAMETERS)
        .unwrap()
        .apply(&mut weights, &mean)
        .unwrap();
    weights
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_1_a_contribution_counts_at_most_once_whatever_is_retried() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let channel = coordinator.channel().await;
    let mut devices = hands(&channel, 3).await;
    let run = operator.start(&Recipe::new().rounds(1, 3)).await;
    let order = devices[0].1.assignment().await;
    let first = update(0);

    // the same bytes five times at once, over connections of their own
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let hand = devices[0].0.over(&coordinator.channel().await);
        let (header, bytes) = (hand.header(&order, &first), first.clone());
        tries.spawn(async move { hand.upload_as(header, &bytes).await.unwrap() });
    }
    while let Some(answer) = tries.join_next().await {
        match answer.unwrap() {
            Answer::Receipt(receipt) => {
                assert_eq!((receipt.run_id, receipt.round), (run.clone(), 1))
            }
            Answer::Reject(reject) => assert_eq!(reject.reason(), RejectReason::Duplicate),
            other => panic!("{other:?}"),
        }
    }
    // once more, with other bytes, and after the device came back
    let other = update(9);
    let hand = devices[0].0.clone();
    for bytes in [&first, &other] {
        hand.refused(hand.header(&order, bytes), bytes, RejectReason::Duplicate)
            .await;
    }
    let mut again = hand.connect().await;
    assert!(
        again.is_silent().await,
        "a counted device is not asked again"
    );
    assert_eq!(of(&operator.show(&run).await).contributions_total, 1);

    // and after a crash of the coordinator
    let coordinator = coordinator.crash_and_restart().await;
    let (operator, channel) = (coordinator.operator().await, coordinator.channel().await);
    let hand = hand.over(&channel);
    for bytes in [&first, &other] {
        hand.refused(hand.header(&order, bytes), bytes, RejectReason::Duplicate)
            .await;
    }
    for number in [1, 2] {
        let hand = devices[number].0.over(&channel);
        let order = hand.connect().await.assignment().await;
        hand.counted(&order, &update(number as u64)).await;
    }
    let shown = operator.completed(&run).await;
    assert_eq!(of(&shown).contributions_total, 3);
    let base = operator.file(&order.model_digest).await;
    let published = operator.file(&of(&shown).model_digest).await;
    let once_each = expected(&base, &[first, update(1), update(2)]);
    assert_eq!(
        published.weights, once_each,
        "the release is not the mean of one update each"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_1_a_fleet_that_sends_everything_twice_counts_once() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let twice = |device: SimDevice| SimDevice {
        behaviour: Behaviour {
            fault: Some(Fault::Duplicate),
            ..Behaviour::default()
        },
        ..device
    };
    let devices = fleet::devices("eu", 6)
        .into_iter()
        .chain(fleet::devices("us", 6));
    let fleet = fleet::start(&coordinator.endpoint(), 2, devices.map(twice).collect());
    fleet.wait_connected(12).await;
    let run = operator.start(&Recipe::new().rounds(3, 12).seeded(1)).await;
    let shown = operator.completed(&run).await;
    let counted: Vec<u64> = shown.rounds.iter().map(|round| round.counted).collect();
    assert_eq!(counted, [12, 12, 12]);
    assert_eq!(of(&shown).contributions_total, 36);
    let refused = fleet.stats().tally;
    let again = refused.count("rejected.duplicate")
        + refused.count("rejected.wrong_round")
        + refused.count("rejected.unknown_run");
    assert!(again > 0, "no second copy arrived: {:?}", refused.events);
}
