use proptest::prelude::*;
use tributary_model::LocalTraining;

use super::*;
use crate::state::participation::Limits;
use crate::training::privacy::Privacy;

const UNITS: f64 = WEIGHT_ONE as f64;

fn plan(algorithm: LocalAlgorithm, clip: f32, examples_cap: u64) -> LocalPlan {
    LocalPlan {
        task: "watch".to_owned(),
        training: LocalTraining {
            epochs: 1,
            batch_size: 4,
            learning_rate: 0.1,
            max_steps: 0,
        },
        clip,
        codec: tributary_aggregator::Codec::F32,
        seed: bytes::Bytes::new(),
        parameters: 2,
        momentum: 0.0,
        algorithm,
        personalisation: None,
        examples_cap,
        privacy: Privacy {
            wire_clip: clip,
            noise_multiplier: 0.0,
            report_within_clip: true,
            answer_window: None,
            limits: Limits::default(),
        },
    }
}

fn payload(plan: &LocalPlan, delta: &[f32], loss: f64) -> Result<Payload, TrainingError> {
    let trained = Trained {
        plan,
        delta: delta.to_vec(),
        steps: 1,
        examples: 1,
        personal: &[],
        control: &[],
        loss,
        state: &RunState::default(),
    };
    trained.payload()
}

fn fair(q: f32, clip: f32, delta: &[f32], loss: f64) -> Payload {
    let plan = plan(LocalAlgorithm::QFedAvg { q }, clip, 0);
    payload(&plan, delta, loss).unwrap()
}

fn norm(values: &[f32]) -> f64 {
    let squares = values.iter().map(|value| f64::from(*value).powi(2));
    squares.sum::<f64>().sqrt()
}

fn assert_near(actual: f64, expected: f64) {
    let apart = (actual - expected).abs();
    assert!(apart <= 1e-5 * expected.abs(), "{actual} is not {expected}");
}

#[test]
fn a_fair_payload_within_the_clip_keeps_its_length_and_weight() {
    // F^q = 2, h = 2 + 10 x 0.01 = 2.1
    let whole = fair(1.0, 0.5, &[0.06, -0.08], 2.0);
    assert_near(f64::from(whole.values[0]), 0.12);
    assert_near(f64::from(whole.values[1]), -0.16);
    assert_near(whole.weight as f64, 2.1 * UNITS);
}

#[test]
fn a_fair_payload_beyond_the_clip_is_scaled_with_its_weight() {
    // |delta| = 0.4, F^q = 6, h = 6 + 10 x 0.16 = 7.6, |p| = 2.4, s = 0.5 / 2.4
    let mut scaled = fair(1.0, 0.5, &[0.24, -0.32], 6.0);
    assert_near(f64::from(scaled.values[0]), 0.3);
    assert_near(f64::from(scaled.values[1]), -0.4);
    assert_near(scaled.weight as f64, 7.6 * 0.5 / 2.4 * UNITS);
    assert_eq!(scaled.clip(0.5).unwrap(), 1.0, "nothing is left to clip");
}

#[test]
fn the_larger_of_two_losses_counts_for_more_below_the_clip_and_never_for_less_beyond() {
    let delta = [0.06, -0.08];
    let pull = |loss| {
        let part = fair(2.0, 0.5, &delta, loss);
        norm(&part.values) / (part.weight as f64 / UNITS)
    };
    // the device's own step, s p / s h, does not know of the clip
    for loss in [1.0, 2.0, 20.0, 200.0] {
        assert_near(pull(loss), 0.1 / (1.0 + 2.0 * 10.0 * 0.01 / loss));
    }
}

#[test]
fn a_fair_weight_above_the_largest_is_scaled_with_its_payload() {
    // F^q = 20^10 = 1.024e13, far above 2^20; the delta is too short for the clip to bind
    let scaled = fair(10.0, 0.5, &[3e-8, -4e-8], 20.0);
    assert!(scaled.weight <= MAX_WEIGHT && scaled.weight > MAX_WEIGHT - 1024);
    assert_near(f64::from(scaled.values[0]), 3e-8 * UNITS);
}

#[test]
fn a_loss_whose_power_overflows_is_a_typed_error() {
    let plan = plan(LocalAlgorithm::QFedAvg { q: 10.0 }, 0.5, 0);
    let outcome = payload(&plan, &[0.1, 0.1], 1e38);
    assert!(matches!(
        outcome.map(|payload| payload.weight),
        Err(TrainingError::Plan {
            field: "algorithm.q",
            ..
        })
    ));
}

#[test]
fn a_share_of_examples_multiplies_the_payload_by_its_weight() {
    // one example of three: 349,525 units of 2^-20
    let plan = plan(LocalAlgorithm::FedAvg, 8.0, 3);
    let mut third = payload(&plan, &[1.0, -2.0], 0.0).unwrap();
    third.clip(8.0).unwrap();
    assert_eq!(third.weight, 349_525);
    let expected = [1.0, -2.0].map(|value| value * 349_525.0 / 1_048_576.0);
    assert_eq!(third.values, expected);
}

proptest! {
    #[test]
    fn neither_the_clip_nor_the_largest_weight_ever_binds_and_their_quotient_stays(
        q in 0.0f32..10.0,
        loss in 1e-3f64..1e5,
        clip in 1e-3f32..10.0,
        delta in prop::collection::vec(-3.0f32..3.0, 1..8),
    ) {
        prop_assume!(norm(&delta) > 1e-3);
        let mut part = fair(q, clip, &delta, loss);
        prop_assert!(norm(&part.values) <= f64::from(clip));
        prop_assert_eq!(part.clip(clip).unwrap(), 1.0);
        prop_assert!((1..=MAX_WEIGHT).contains(&part.weight));
        let length = norm(&delta).min(f64::from(clip));
        let whole = QFedAvgShare::new(q, loss, length, 0.1);
        // below one unit the weight is rounded up to it
        if part.weight > 1 {
            let step = norm(&part.values) / (part.weight as f64 / UNITS);
            assert_near(step, length * whole.factor / whole.weight);
        }
    }
}

fn is_within(algorithm: LocalAlgorithm, clip: f32, delta: &[f32]) -> bool {
    let plan = plan(algorithm, clip, 0);
    let mut whole = payload(&plan, delta, 1.0).unwrap();
    whole.clip(clip).unwrap();
    whole.within_clip
}

#[test]
fn a_payload_is_within_the_clip_below_it_and_at_it_but_not_above() {
    // 3, 4, 5: the norm and its square are exact
    for (clip, expected) in [(5.5, true), (5.0, true), (4.999_999, false), (0.1, false)] {
        let within = is_within(LocalAlgorithm::FedAvg, clip, &[3.0, -4.0]);
        assert_eq!(within, expected, "clip {clip}");
    }
    assert!(is_within(LocalAlgorithm::FedAvg, 0.1, &[0.0, 0.0]));
}

#[test]
fn a_fair_payload_is_within_the_clip_when_its_delta_was() {
    let fair = LocalAlgorithm::QFedAvg { q: 1.0 };
    assert!(is_within(fair, 5.0, &[3.0, -4.0]));
    assert!(!is_within(fair, 4.9, &[3.0, -4.0]));
}
