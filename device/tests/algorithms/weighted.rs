//! Algorithms and caps that give updates a weight.

use tributary_proto::v1::local_algorithm::Kind;
use tributary_proto::v1::{FedNova, QFedAvg, TrainingPlan};

use crate::reference::{assert_near, descend, gradient, minus, norm, plainly, times};
use crate::stage::{Stage, with_algorithm};

const RATE: f32 = 0.1;
const ONE: f64 = 1_048_576.0;

#[tokio::test]
async fn fednova_sends_the_mean_step_and_its_work() {
    let stage = Stage::new().await;
    // 12 examples in batches of 5 are 3 steps a pass; the limit ends the second pass early
    let plan = TrainingPlan {
        batch_size: 5,
        max_steps: 5,
        ..with_algorithm(&stage.plan, Kind::Fednova(FedNova {}))
    };
    let start = stage.model.weights.clone();
    let d = start.len();
    let sent = stage.round(1, &plan, &start, &[], d).await;
    assert_eq!((sent.header.weight, sent.header.work), (0, 5 << 20));
    // the seed gives plain averaging the same steps
    let plain = TrainingPlan {
        algorithm: None,
        ..plan.clone()
    };
    stage.server.world.with(|memory| memory.counted.clear());
    let agent = Stage::new().await;
    let whole = agent.round(1, &plain, &start, &[], d).await;
    assert_near(&sent.values, &times(0.2, &whole.values));
    // with a cap of 48 the 12 examples are a quarter
    let capped = TrainingPlan {
        examples_cap: 48,
        ..plan
    };
    let agent = Stage::new().await;
    let quarter = agent.round(1, &capped, &start, &[], d).await;
    assert_near(&quarter.values, &times(0.05, &whole.values));
    let header = quarter.header;
    assert_eq!((header.weight, header.work), (1 << 18, 5 << 18));
}

#[tokio::test]
async fn qfedavg_sends_the_loss_power_times_the_clipped_delta_and_scales_weight_and_all_to_the_clip()
 {
    let stage = Stage::new().await;
    let start = stage.model.weights.clone();
    let d = start.len();
    let mut engine = stage.engine();
    let loss = gradient(&mut engine, &start).1;
    let delta = minus(&descend(&mut engine, &start, 3, RATE, plainly), &start);
    for (round, clip) in [(1, 100.0), (2, 0.05)] {
        let plan = TrainingPlan {
            clip,
            ..with_algorithm(&stage.plan, Kind::Qfedavg(QFedAvg { q: 2.0 }))
        };
        let sent = stage.round(round, &plan, &start, &[], d).await;
        let shrunk = (clip / norm(&delta)).min(1.0);
        let clipped = times(shrunk, &delta);
        let length = f64::from(norm(&clipped));
        let factor = loss * loss;
        let payload = times(factor, &clipped);
        let again = (clip / norm(&payload)).min(1.0);
        assert_eq!(again < 1.0, round == 2, "the second payload is too long");
        assert_near(&sent.values, &times(again, &payload));
        let loss = f64::from(loss);
        let whole = loss.powi(2) + 2.0 * loss * 10.0 * length * length;
        let weight = f64::from(again) * whole;
        let actual = sent.header.weight as f64 / ONE;
        assert!((actual - weight).abs() < 1e-4 * weight, "{actual} {weight}");
        assert_eq!(sent.header.work, 0);
    }
}

#[tokio::test]
async fn a_cap_on_examples_scales_the_clipped_payload() {
    let stage = Stage::new().await;
    let start = stage.model.weights.clone();
    let d = start.len();
    let capped = |examples_cap| TrainingPlan {
        examples_cap,
        clip: 0.05,
        ..stage.plan.clone()
    };
    let none = stage.round(1, &capped(0), &start, &[], d).await;
    assert_eq!(none.header.weight, 0);
    let below = stage.round(2, &capped(16), &start, &[], d).await;
    assert_eq!(below.header.weight, 3 << 18);
    assert!((norm(&below.values) - 0.75 * 0.05).abs() < 1e-5);
    assert_near(&below.values, &times(0.75, &none.values));
    let above = stage.round(3, &capped(10), &start, &[], d).await;
    assert_eq!(above.header.weight, 1 << 20);
    assert_near(&above.values, &none.values);
}
