//! Algorithms that keep state on the device: it moves with counted updates alone.

use tributary_proto::v1::local_algorithm::Kind;
use tributary_proto::v1::{FedDyn, FedProx, Scaffold};

use crate::reference::{assert_apart, assert_near, descend, minus, norm, plainly, plus, times};
use crate::stage::{Stage, with_algorithm};

const RATE: f32 = 0.1;

pub fn bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

#[tokio::test]
async fn fedprox_sends_the_delta_of_the_regularised_loss() {
    let stage = Stage::new().await;
    let plan = with_algorithm(&stage.plan, Kind::Fedprox(FedProx { mu: 2.0 }));
    let start = stage.model.weights.clone();
    let sent = stage.round(1, &plan, &start, &[], start.len()).await;
    let mut engine = stage.engine();
    let trained = descend(&mut engine, &start, 3, RATE, |weights, gradient| {
        for (index, gradient) in gradient.iter_mut().enumerate() {
            *gradient += 2.0 * (weights[index] - start[index]);
        }
    });
    assert_near(&sent.values, &minus(&trained, &start));
    assert_eq!((sent.header.weight, sent.header.work), (0, 0));
    let plain = descend(&mut engine, &start, 3, RATE, plainly);
    assert_apart(&sent.values, &minus(&plain, &start));
}

#[tokio::test]
async fn scaffold_sends_the_change_of_its_variate_which_moves_only_when_counted() {
    let stage = Stage::new().await;
    let plan = with_algorithm(&stage.plan, Kind::Scaffold(Scaffold {}));
    let d = stage.parameters();
    let mut engine = stage.engine();
    let mut expected = |start: &[f32], server: &[f32], own: &[f32]| {
        let y = descend(&mut engine, start, 3, RATE, |_, gradient| {
            for (index, gradient) in gradient.iter_mut().enumerate() {
                *gradient += server[index] - own[index];
            }
        });
        let delta = minus(&y, start);
        let change = minus(&times(-1.0 / (3.0 * RATE), &delta), server);
        (delta, change)
    };
    // round 1: no variates yet
    let zeros = vec![0.0; d];
    let first = stage.model.weights.clone();
    let sent = stage.round(1, &plan, &first, &[], 2 * d).await;
    let (delta, change) = expected(&first, &zeros, &zeros);
    assert_near(&sent.values[..d], &delta);
    assert_near(&sent.values[d..], &change);
    let own = change;
    // round 2 is trained with the server's variate, but refused; round 3 is another model's
    let server: Vec<f32> = (0..d).map(|i| 0.3 * ((i % 7) as f32 - 3.0)).collect();
    let control = stage.server.world.put(bytes(&server));
    stage
        .refused_round(2, &plan, &first, std::slice::from_ref(&control))
        .await;
    let third = times(0.5, &first);
    let sent = stage.round(3, &plan, &third, &[control], 2 * d).await;
    let (delta, change) = expected(&third, &server, &own);
    assert_near(&sent.values[..d], &delta);
    assert_near(&sent.values[d..], &change);
    // round 4: the variate is the sum of both counted changes
    let own = plus(&own, &change);
    let sent = stage.round(4, &plan, &first, &[], 2 * d).await;
    let (delta, _) = expected(&first, &zeros, &own);
    assert_near(&sent.values[..d], &delta);
}

#[tokio::test]
async fn a_clipped_scaffold_payload_moves_the_variate_by_what_was_sent() {
    let stage = Stage::new().await;
    let mut plan = with_algorithm(&stage.plan, Kind::Scaffold(Scaffold {}));
    plan.clip = 0.2;
    let d = stage.parameters();
    let start = stage.model.weights.clone();
    let first = stage.round(1, &plan, &start, &[], 2 * d).await;
    assert!((norm(&first.values) - 0.2).abs() < 1e-4, "the clip binds");
    let own = first.values[d..].to_vec();
    plan.clip = 100.0;
    let second = stage.round(2, &plan, &start, &[], 2 * d).await;
    let y = descend(&mut stage.engine(), &start, 3, RATE, |_, gradient| {
        gradient.iter_mut().zip(&own).for_each(|(g, own)| *g -= own);
    });
    assert_near(&second.values[..d], &minus(&y, &start));
}

#[tokio::test]
async fn feddyn_moves_its_gradient_only_when_counted() {
    const ALPHA: f32 = 0.5;
    let stage = Stage::new().await;
    let plan = with_algorithm(&stage.plan, Kind::Feddyn(FedDyn { alpha: ALPHA }));
    let d = stage.parameters();
    let mut engine = stage.engine();
    let mut expected = |start: &[f32], own: &[f32]| {
        let trained = descend(&mut engine, start, 3, RATE, |weights, gradient| {
            for (index, gradient) in gradient.iter_mut().enumerate() {
                *gradient += ALPHA * (weights[index] - start[index]) - own[index];
            }
        });
        minus(&trained, start)
    };
    let first = stage.model.weights.clone();
    let sent = stage.round(1, &plan, &first, &[], d).await;
    let delta = expected(&first, &vec![0.0; d]);
    assert_near(&sent.values, &delta);
    stage.refused_round(2, &plan, &first, &[]).await;
    let own = times(-ALPHA, &delta);
    let third = plus(&first, &delta);
    let sent = stage.round(3, &plan, &third, &[], d).await;
    assert_near(&sent.values, &expected(&third, &own));
    assert_apart(&sent.values, &expected(&third, &vec![0.0; d]));
}

#[tokio::test]
async fn momentum_is_what_is_sent_and_moves_only_when_counted() {
    let stage = Stage::new().await;
    let mut plan = stage.plan.clone();
    plan.momentum = 0.75;
    let d = stage.parameters();
    let mut engine = stage.engine();
    let mut delta = |start: &[f32]| minus(&descend(&mut engine, start, 3, RATE, plainly), start);
    let first = stage.model.weights.clone();
    let sent = stage.round(1, &plan, &first, &[], d).await;
    let momentum = times(0.25, &delta(&first));
    assert_near(&sent.values, &momentum);
    stage.refused_round(2, &plan, &first, &[]).await;
    let third = times(0.5, &first);
    let sent = stage.round(3, &plan, &third, &[], d).await;
    let momentum = plus(&times(0.75, &momentum), &times(0.25, &delta(&third)));
    assert_near(&sent.values, &momentum);
}

#[tokio::test]
async fn a_lost_receipt_moves_the_state_once() {
    let stage = Stage::new().await;
    let mut plan = stage.plan.clone();
    plan.momentum = 0.5;
    let d = stage.parameters();
    let start = stage.model.weights.clone();
    stage
        .server
        .world
        .with(|memory| memory.withhold_receipts = true);
    let first = stage.round(1, &plan, &start, &[], d).await;
    assert_eq!(stage.agent.tally().count("rejected.duplicate"), 1);
    stage
        .server
        .world
        .with(|memory| memory.withhold_receipts = false);
    let second = stage.round(2, &plan, &start, &[], d).await;
    assert_near(&second.values, &times(1.5, &first.values));
}
