//! Every codec through the device, and the feedback of what a sparse one leaves out.

use tributary_aggregator::Codec;
use tributary_device::{Purposes, seeded};
use tributary_proto::v1::TrainingPlan;

use crate::reference::{assert_near, descend, minus, norm, plainly, plus, times};
use crate::stage::Stage;

const RATE: f32 = 0.1;

#[tokio::test]
async fn a_clipped_update_is_counted_with_every_codec() {
    let stage = Stage::new().await;
    let start = stage.model.weights.clone();
    for (round, codec) in (1..).zip(Codec::ALL) {
        let plan = TrainingPlan {
            codec: codec.to_string(),
            clip: 0.05,
            ..stage.plan.clone()
        };
        let sent = stage.round(round, &plan, &start, &[], start.len()).await;
        assert_eq!(sent.header.codec, codec.to_string());
        assert!(norm(&sent.values) <= 0.05, "{codec}");
    }
    assert_eq!(stage.agent.tally().count("upload.refused"), 0);
}

#[tokio::test]
async fn rounding_repeats_with_the_seed() {
    let plan = |stage: &Stage| TrainingPlan {
        codec: "int4".to_owned(),
        ..stage.plan.clone()
    };
    let mut sent = Vec::new();
    for _ in 0..2 {
        let stage = Stage::new().await;
        let start = stage.model.weights.clone();
        let round = stage
            .round(1, &plan(&stage), &start, &[], start.len())
            .await;
        sent.push(round.header.digest);
    }
    assert_eq!(sent[0], sent[1]);
}

fn largest(plan: &TrainingPlan, values: &[f32]) -> Vec<f32> {
    let codec: Codec = plan.codec.parse().unwrap();
    let mut noise = seeded(b"any", "", 0, "", Purposes::Encoding);
    let mut decoded = vec![0.0; values.len()];
    let bytes = codec.encode(values, &mut noise);
    codec.decode_into(&bytes, &mut decoded).unwrap();
    decoded
}

#[tokio::test]
async fn what_top_k_leaves_out_is_sent_later_and_a_refused_update_leaves_it_waiting() {
    let stage = Stage::new().await;
    let plan = TrainingPlan {
        codec: "topk:0.1".to_owned(),
        ..stage.plan.clone()
    };
    let d = stage.parameters();
    let mut engine = stage.engine();
    let mut delta = |start: &[f32]| minus(&descend(&mut engine, start, 3, RATE, plainly), start);
    let first = stage.model.weights.clone();
    let sent = stage.round(1, &plan, &first, &[], d).await;
    let wanted = delta(&first);
    assert_near(&sent.values, &largest(&plan, &wanted));
    let residual = minus(&wanted, &sent.values);
    assert!(norm(&residual) > 0.1 * norm(&wanted));
    stage
        .refused_round(2, &plan, &times(0.9, &first), &[])
        .await;
    let third = times(0.5, &first);
    let sent = stage.round(3, &plan, &third, &[], d).await;
    let wanted = plus(&delta(&third), &residual);
    assert_near(&sent.values, &largest(&plan, &wanted));
    // clipped and a quarter of the examples: the residual keeps what the clip took and no share
    let residual = minus(&wanted, &sent.values);
    let small = TrainingPlan {
        clip: 0.02,
        examples_cap: 48,
        ..plan.clone()
    };
    let sent = stage.round(4, &small, &first, &[], d).await;
    let wanted = plus(&delta(&first), &residual);
    let part = largest(&plan, &wanted);
    assert!(norm(&part) > 0.02, "the clip binds");
    let tolerated = times(0.25 * 0.02 / norm(&part), &part);
    let apart = norm(&minus(&sent.values, &tolerated));
    assert!(apart < 2e-3 * norm(&tolerated), "half precision: {apart}");
    let mut residual = minus(&wanted, &times(4.0, &sent.values));
    // never longer than 100 clips
    let limit = (0.02 * 100.0 / norm(&residual)).min(1.0);
    residual = times(limit, &residual);
    let sent = stage.round(5, &plan, &third, &[], d).await;
    assert_near(
        &sent.values,
        &largest(&plan, &plus(&delta(&third), &residual)),
    );
}
