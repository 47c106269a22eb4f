//! Plans and objects that can't be followed are given back, and nothing is sent.

use tributary_proto::v1::local_algorithm::Kind as AlgorithmKind;
use tributary_proto::v1::personalisation::Kind as PersonalKind;
use tributary_proto::v1::{FedProx, Ifca, PersonalLayers, Scaffold, TrainingPlan};

use crate::stage::{Stage, personalised, with_algorithm};
use crate::with_state::bytes;

#[tokio::test]
async fn a_plan_that_can_not_be_followed_is_given_back() {
    let stage = Stage::new().await;
    let weights = stage.model.weights.clone();
    let layers = |layers: &[&str]| {
        PersonalKind::Fedper(PersonalLayers {
            layers: layers.iter().map(|&layer| layer.to_owned()).collect(),
            head_epochs: 0,
        })
    };
    let plan = &stage.plan;
    let scaffold = with_algorithm(plan, AlgorithmKind::Scaffold(Scaffold {}));
    let cases = [
        with_algorithm(plan, AlgorithmKind::Fedprox(FedProx { mu: f32::NAN })),
        TrainingPlan {
            momentum: 1.0,
            ..plan.clone()
        },
        personalised(plan, layers(&["7."])),
        personalised(plan, layers(&[])),
        personalised(plan, layers(&["0.", "2."])),
        personalised(&scaffold, layers(&["2."])),
        personalised(plan, PersonalKind::Ifca(Ifca {})),
    ];
    for (round, plan) in (1..).zip(cases) {
        stage.order(round, &plan, &weights, &[]).await;
        stage.until("abandoned.bad_plan", u64::from(round)).await;
    }
    assert!(stage.server.world.with(|memory| memory.headers.is_empty()));
}

#[tokio::test]
async fn a_control_variate_that_does_not_fit_is_refused() {
    let stage = Stage::new().await;
    let plan = with_algorithm(&stage.plan, AlgorithmKind::Scaffold(Scaffold {}));
    let weights = stage.model.weights.clone();
    let d = weights.len();
    let put = |values: &[f32]| stage.server.world.put(bytes(values));
    let mut not_finite = vec![0.0; d];
    not_finite[1] = f32::NAN;
    for (round, digest) in (1..).zip([put(&vec![0.5; d - 1]), put(&not_finite)]) {
        stage.order(round, &plan, &weights, &[digest]).await;
        stage.until("abandoned.bad_plan", u64::from(round)).await;
    }
    // longer than the model: not even fetched
    stage
        .order(3, &plan, &weights, &[put(&vec![0.5; d + 1])])
        .await;
    stage.until("abandoned.too_large", 1).await;
    stage.order(4, &plan, &weights, &["zz".to_owned()]).await;
    stage.until("abandoned.bad_digest", 1).await;
    assert!(stage.server.world.with(|memory| memory.headers.is_empty()));
}
