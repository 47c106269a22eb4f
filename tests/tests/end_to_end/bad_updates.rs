//! Invariant 10 for updates: each kind of bad upload gets its own reason and a sentence with the
//! remedy, and leaves no trace in the sum.

use tonic::Code;
use tributary_proto::v1::upload_request::Part;
use tributary_proto::v1::{RejectReason, UploadHeader};

use crate::harness::hand::{delta, encoded, hands, rejected, update};
use crate::harness::operator::{assert_refusal, of};
use crate::harness::recipe::PARAMETERS;
use crate::harness::{Coordinator, Hand, Recipe, fleet};
use crate::invariant_1::expected;

fn encode(change: impl FnOnce(&mut Vec<f32>)) -> Vec<u8> {
    let mut values = delta(0);
    change(&mut values);
    encoded(&values)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_10_bad_values_get_their_reason_and_never_reach_the_sum() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, 2).await;
    let run = operator.start(&Recipe::new().rounds(1, 2)).await;
    let order = devices[0].1.assignment().await;
    let hand = devices[0].0.clone();
    let last = PARAMETERS - 1;
    let cases = [
        (
            encode(|values| values[last] = f32::NAN),
            RejectReason::NotFinite,
            "finite",
        ),
        (
            encode(|values| values[0] = f32::INFINITY),
            RejectReason::NotFinite,
            "finite",
        ),
        (
            encode(|values| values[7] = f32::NEG_INFINITY),
            RejectReason::NotFinite,
            "finite",
        ),
        (
            encode(|values| values[3] = 1.5),
            RejectReason::NormTooLarge,
            "clip",
        ),
        (
            encode(|values| values.fill(f32::MAX)),
            RejectReason::NormTooLarge,
            "clip",
        ),
        (
            encode(|values| values.truncate(last)),
            RejectReason::WrongLayout,
            "size",
        ),
        (
            encode(|values| values.push(0.1)),
            RejectReason::WrongLayout,
            "size",
        ),
        (update(0)[1..].to_vec(), RejectReason::WrongLayout, "size"),
        (Vec::new(), RejectReason::WrongLayout, "size"),
    ];
    for (bytes, reason, word) in cases {
        let reject = hand
            .refused(hand.header(&order, &bytes), &bytes, reason)
            .await;
        assert!(
            reject.message.contains(word),
            "{word:?} is missing in: {}",
            reject.message
        );
        assert_eq!(
            reject.retry_after_ms, 0,
            "the same bytes will never do: {reject:?}"
        );
    }
    assert_eq!(of(&operator.show(&run).await).contributions_total, 0);
    // the same device's good update counts, and the release is as if nothing had happened
    hand.counted(&order, &update(0)).await;
    devices[1].0.counted(&order, &update(1)).await;
    let shown = operator.completed(&run).await;
    let base = operator.file(&order.model_digest).await;
    let published = operator.file(&of(&shown).model_digest).await;
    assert_eq!(published.weights, expected(&base, &[update(0), update(1)]));
    // every refusal is counted by its reason
    let metrics = coordinator.metrics().await;
    for (reason, count) in [
        ("not_finite", 3),
        ("norm_too_large", 2),
        ("wrong_layout", 4),
    ] {
        let line = format!("tributary_rejects_total{{reason=\"{reason}\"}} {count}");
        assert!(metrics.contains(&line), "{line} is missing in {metrics}");
    }
}

/// What anybody sees of a seeded private round of these updates.
async fn seen_of(updates: &[Vec<u8>]) -> (String, Vec<String>, String) {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, updates.len()).await;
    // seeded, so that the noise is the same and the released models can be compared
    let recipe = Recipe::private().rounds(1, updates.len() as i64).seeded(4);
    let run = operator.start(&recipe).await;
    for ((hand, session), bytes) in devices.iter_mut().zip(updates) {
        let order = session.assignment().await;
        // a receipt like any other
        hand.counted(&order, bytes).await;
    }
    let shown = operator.completed(&run).await;
    let mut run = of(&shown).clone();
    run.started_unix_ms = 0;
    let metrics = coordinator.metrics().await;
    let metrics = metrics
        .lines()
        .filter(|line| line.starts_with("tributary_"))
        // counted a moment after the run is seen to be over
        .filter(|line| !line.starts_with("tributary_rounds_published_total"));
    let metrics = metrics.map(str::to_owned).collect();
    let accounts = operator.privacy("").await.accounts;
    (
        format!("{run:?} {:?}", shown.rounds),
        metrics,
        format!("{accounts:?}"),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_11_under_privacy_bad_values_are_summed_as_zeros_charged_and_told_to_nobody() {
    let zeros = || encode(|values| values.fill(0.0));
    let faults = [
        encode(|values| values[0] = f32::NAN),
        encode(|values| values.fill(f32::INFINITY)),
        encode(|values| values[3] = 1.5),
        encode(|values| values.fill(f32::MAX)),
        zeros(),
    ];
    let good = update(9);
    let faulty: Vec<Vec<u8>> = faults.iter().cloned().chain([good.clone()]).collect();
    let empty: Vec<Vec<u8>> = faults.iter().map(|_| zeros()).chain([good]).collect();
    let seen = seen_of(&faulty).await;
    assert_eq!(seen, seen_of(&empty).await);
    assert!(
        seen.1.iter().all(|line| !line.contains("rejects_total{")),
        "{:?}",
        seen.1
    );
    assert!(seen.2.contains("devices: 3"), "all are charged: {}", seen.2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zero_update_is_a_contribution_with_and_without_privacy_and_under_a_robust_rule() {
    let zeros = encode(|values| values.fill(0.0));
    let robust = Recipe::new().set("aggregation.mode", "robust");
    for recipe in [Recipe::new(), Recipe::private(), robust] {
        let coordinator = Coordinator::start().await;
        let operator = coordinator.operator().await;
        let mut devices = hands(&coordinator.channel().await, 5).await;
        let run = operator.start(&recipe.rounds(1, 5)).await;
        for (hand, session) in &mut devices {
            let order = session.assignment().await;
            hand.counted(&order, &zeros).await;
        }
        let shown = operator.completed(&run).await;
        assert_eq!(of(&shown).contributions_total, 5);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_that_has_nothing_to_change_completes_its_run() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    // a learning rate that changes no weight of the grid: every update is zero
    let recipe = Recipe::new()
        .rounds(3, 12)
        .set("training.learning_rate", 2e-9)
        .set("privacy.clip", 1e6);
    let fleet = fleet::start(&coordinator.endpoint(), 2, fleet::devices("eu", 12));
    fleet.wait_connected(12).await;
    let run = operator.start(&recipe).await;
    let shown = operator.completed(&run).await;
    assert_eq!(of(&shown).contributions_total, 36);
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_10_bad_headers_are_refused_before_any_bytes_are_taken() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let channel = coordinator.channel().await;
    let mut devices = hands(&channel, 1).await;
    let run = operator.start(&Recipe::new().rounds(1, 1)).await;
    let order = devices[0].1.assignment().await;
    let hand = devices[0].0.clone();
    let good = || hand.header(&order, &update(0));
    let cases: Vec<(UploadHeader, RejectReason, &str)> = vec![
        (
            UploadHeader {
                run_id: "other-1".into(),
                ..good()
            },
            RejectReason::UnknownRun,
            "run_id",
        ),
        (
            UploadHeader {
                run_id: "../etc".into(),
                ..good()
            },
            RejectReason::UnknownRun,
            "run_id",
        ),
        (
            UploadHeader { round: 0, ..good() },
            RejectReason::WrongRound,
            "round",
        ),
        (
            UploadHeader { round: 2, ..good() },
            RejectReason::WrongRound,
            "round",
        ),
        (
            UploadHeader {
                round: u32::MAX,
                ..good()
            },
            RejectReason::WrongRound,
            "round",
        ),
        (
            UploadHeader {
                codec: "f16".into(),
                ..good()
            },
            RejectReason::WrongCodec,
            "codec",
        ),
        (
            UploadHeader {
                codec: String::new(),
                ..good()
            },
            RejectReason::WrongCodec,
            "codec",
        ),
        (
            UploadHeader {
                size: u64::MAX,
                ..good()
            },
            RejectReason::WrongLayout,
            "size",
        ),
        (
            UploadHeader {
                size: 1 << 40,
                ..good()
            },
            RejectReason::WrongLayout,
            "size",
        ),
        (
            UploadHeader {
                digest: "xyz".into(),
                ..good()
            },
            RejectReason::WrongDigest,
            "digest",
        ),
        (
            UploadHeader {
                model_digest: "0".repeat(64),
                ..good()
            },
            RejectReason::WrongLayout,
            "model_digest",
        ),
    ];
    for (header, reason, word) in cases {
        // the refusal is the first answer: nothing was accepted before it
        let answers = hand.send(vec![Part::Header(header)]).await.unwrap();
        assert_eq!(answers.len(), 1, "{answers:?}");
        let reject = rejected(answers.into_iter().next().unwrap(), reason);
        assert!(
            reject.message.contains(word),
            "{word:?} is missing in: {}",
            reject.message
        );
    }
    // a device that is enrolled and was not chosen; one that nobody knows; a wrong token
    let idle = Hand::enrol(&channel, "idle", "eu").await;
    let bytes = update(3);
    idle.refused(
        idle.header(&order, &bytes),
        &bytes,
        RejectReason::NotAssigned,
    )
    .await;
    let stranger = Hand {
        id: "stranger".into(),
        ..hand.clone()
    };
    let thief = Hand {
        token: vec![1; 32].into(),
        ..hand.clone()
    };
    for hand in [stranger, thief] {
        let refused = hand
            .upload_as(hand.header(&order, &bytes), &bytes)
            .await
            .unwrap_err();
        assert_refusal(
            &refused,
            Code::Unauthenticated,
            "TRB-0210",
            &["device_id", "enrol again"],
        );
    }
    let nobody = UploadHeader {
        credentials: None,
        ..good()
    };
    let refused = hand.upload_as(nobody, &update(0)).await.unwrap_err();
    assert_refusal(
        &refused,
        Code::Unauthenticated,
        "TRB-0210",
        &["enrol again"],
    );

    hand.counted(&order, &update(0)).await;
    operator.completed(&run).await;
}
