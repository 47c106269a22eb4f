//! What one device changes, against its constant form: the sensitivity that is charged, over the real path.

use tributary_proto::v1::upload_response::Answer;
use tributary_proto::v1::{ClipReport, UploadHeader};

use crate::harness::hand::{delta, encoded, hands};
use crate::harness::operator::of;
use crate::harness::{Coordinator, Recipe};

/// Devices of a round.
const DEVICES: usize = 3;
/// Step of the clip's logarithm in these rounds.
const RATE: f64 = 0.5;

/// Weights and next clip of a seeded round in which device 0 sends this payload and this report; the others
/// send the same every time.
async fn released(payload: &[f32], report: ClipReport) -> (Vec<f32>, f64) {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, DEVICES).await;
    let mut clip = toml::Table::new();
    clip.insert("count_noise".to_owned(), 2.0.into());
    clip.insert("learning_rate".to_owned(), RATE.into());
    // equal noise in all runs: what is measured is the sum, not the noise
    let recipe = Recipe::private()
        .rounds(2, DEVICES as i64)
        .seeded(11)
        .set("privacy.adaptive_clip", clip);
    let run = operator.start(&recipe).await;
    for (number, (hand, session)) in devices.iter_mut().enumerate() {
        let order = session.assignment().await;
        assert!(order.plan.as_ref().unwrap().report_within_clip);
        let (values, report) = match number {
            0 => (payload.to_vec(), report),
            other => (delta(other as u64), ClipReport::Within),
        };
        let bytes = encoded(&values);
        let header = UploadHeader {
            clip_report: report.into(),
            ..hand.header(&order, &bytes)
        };
        let answer = hand.upload_as(header, &bytes).await.unwrap();
        assert!(matches!(answer, Answer::Receipt(_)), "{answer:?}");
    }
    let shown = operator
        .until(&run, "the second round", |shown| shown.rounds.len() == 2)
        .await;
    let file = operator.file(&of(&shown).model_digest).await;
    (file.weights, shown.rounds[1].clip.into())
}

/// L2 distance of two releases, in clips on the sum.
fn distance(one: &[f32], other: &[f32]) -> f64 {
    let pairs = one.iter().zip(other);
    let squares = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    squares.sum::<f64>().sqrt() * DEVICES as f64
}

/// Rounding of weights and clips to `f32`, in the units of these comparisons.
const ROUNDING: f64 = 1e-4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_11_a_device_differs_from_its_constant_form_by_what_is_charged() {
    let zeros = vec![0.0; delta(0).len()];
    let whole: Vec<f32> = delta(0).iter().map(|value| value * 1.999).collect();
    let opposite: Vec<f32> = whole.iter().map(|value| -value).collect();
    let (nothing, unmoved) = released(&zeros, ClipReport::None).await;
    let (plus, within) = released(&whole, ClipReport::Within).await;
    let (minus, above) = released(&opposite, ClipReport::Above).await;
    // the update: one clip against the constant form, two against another data set: 4 rho
    let (one, other) = (distance(&plus, &nothing), distance(&minus, &nothing));
    assert!(one <= 1.0 + ROUNDING && one > 0.99, "{one}");
    assert!(other <= 1.0 + ROUNDING && other > 0.99, "{other}");
    let apart = distance(&plus, &minus);
    assert!(apart > 1.98 && apart <= 2.0 + ROUNDING, "{apart}");
    // the report: half a device against the constant form, a whole one against another data set. A report
    // that is filled in where there is none would be a whole one off, and the charge four times as large
    let step = RATE / (2.0 * DEVICES as f64);
    let (down, up) = ((within / unmoved).ln(), (above / unmoved).ln());
    assert!((down + step).abs() < ROUNDING, "{down} against {}", -step);
    assert!((up - step).abs() < ROUNDING, "{up} against {step}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_11_a_failing_device_releases_what_a_device_of_zeros_releases() {
    let mut broken = delta(0);
    broken[3] = f32::NAN;
    let zeros = vec![0.0; broken.len()];
    let nothing = released(&zeros, ClipReport::None).await;
    assert_eq!(released(&broken, ClipReport::None).await, nothing);
}
