//! What stays on the device, and which of several models it trains.

use tributary_device::Purposes;
use tributary_model::{Engine, LocalTraining, ModelFile, named_parameters, train};
use tributary_proto::v1::personalisation::Kind;
use tributary_proto::v1::{Apfl, Ditto, Ifca, PersonalLayers, TrainingPlan};

use crate::reference::{
    assert_apart, assert_near, batch, data, descend, gradient, minus, plainly, times,
};
use crate::stage::{DEVICE, RUN, Stage, personalised};

const RATE: f32 = 0.1;

fn head(stage: &Stage) -> Vec<bool> {
    named_parameters(&stage.model.spec.graph().unwrap(), &["2.".to_owned()])
}

fn layers(head_epochs: u32) -> PersonalLayers {
    PersonalLayers {
        layers: vec!["2.".to_owned()],
        head_epochs,
    }
}

fn chosen(values: &[f32], flags: &[bool], wanted: bool) -> Vec<f32> {
    let pairs = values
        .iter()
        .zip(flags)
        .filter(|(_, flag)| **flag == wanted);
    pairs.map(|(value, _)| *value).collect()
}

/// Values of `one` where the flag is set, of `other` elsewhere.
fn joined(flags: &[bool], one: &[f32], other: &[f32]) -> Vec<f32> {
    let pairs = one.iter().zip(other).zip(flags);
    pairs
        .map(|((one, other), flag)| if *flag { *one } else { *other })
        .collect()
}

#[tokio::test]
async fn fedper_sends_the_shared_layers_and_goes_on_from_its_personal_ones() {
    let stage = Stage::new().await;
    let plan = personalised(&stage.plan, Kind::Fedper(layers(0)));
    let flags = head(&stage);
    let shared = flags.iter().filter(|flag| !**flag).count();
    let mut engine = stage.engine();
    let first = stage.model.weights.clone();
    assert_eq!(stage.agent.view.personal_model(RUN, None), None);
    let sent = stage.round(1, &plan, &first, &[], shared).await;
    let trained = descend(&mut engine, &first, 3, RATE, plainly);
    assert_near(
        &sent.values,
        &chosen(&minus(&trained, &first), &flags, false),
    );
    // the personal layers move with an update that was counted, never with one that was refused
    let second = times(0.5, &first);
    stage.refused_round(2, &plan, &second, &[]).await;
    let model = stage.agent.view.personal_model(RUN, None).unwrap();
    assert_near(&model, &joined(&flags, &trained, &second));
    let given = stage.agent.view.personal_model(RUN, Some(&first)).unwrap();
    assert_near(&given, &joined(&flags, &trained, &first));
    assert_eq!(
        stage.agent.view.personal_model(RUN, Some(&first[1..])),
        None
    );
    // what the coordinator says of the personal layers is not taken
    let third = times(2.0, &first);
    let sent = stage.round(3, &plan, &third, &[], shared).await;
    let start = joined(&flags, &trained, &third);
    let trained = descend(&mut engine, &start, 3, RATE, plainly);
    assert_near(
        &sent.values,
        &chosen(&minus(&trained, &start), &flags, false),
    );
}

#[tokio::test]
async fn fedrep_trains_the_head_alone_and_then_the_shared_layers_alone() {
    let stage = Stage::new().await;
    let plan = personalised(&stage.plan, Kind::Fedrep(layers(4)));
    let flags = head(&stage);
    let shared = flags.iter().filter(|flag| !**flag).count();
    let start = stage.model.weights.clone();
    let sent = stage.round(1, &plan, &start, &[], shared).await;
    let mut engine = stage.engine();
    let resting = |resting: bool| {
        let flags = flags.clone();
        move |_: &[f32], gradient: &mut [f32]| {
            let pairs = gradient.iter_mut().zip(&flags);
            pairs
                .filter(|(_, flag)| **flag == resting)
                .for_each(|(value, _)| *value = 0.0);
        }
    };
    let with_head = descend(&mut engine, &start, 4, RATE, resting(false));
    let trained = descend(&mut engine, &with_head, 3, RATE, resting(true));
    assert_near(
        &sent.values,
        &chosen(&minus(&trained, &start), &flags, false),
    );
    let model = stage
        .agent
        .view
        .personal_model(RUN, Some(&trained))
        .unwrap();
    assert_near(&model, &trained);
}

/// Plain training with the device's own stream: the bits that federated averaging sends.
fn averaged(stage: &Stage, plan: &TrainingPlan, start: &[f32]) -> Vec<f32> {
    let settings = LocalTraining {
        epochs: plan.epochs,
        batch_size: plan.batch_size,
        learning_rate: plan.learning_rate,
        max_steps: 0,
    };
    let seed = &plan.simulation_seed;
    let mut rng = tributary_device::seeded(seed, RUN, 1, DEVICE, Purposes::Training);
    let (mut weights, data) = (start.to_vec(), data());
    let mut engine = stage.engine();
    train(&mut engine, &mut weights, batch(&data), &settings, &mut rng).unwrap();
    minus(&weights, start)
}

#[tokio::test]
async fn ditto_sends_what_averaging_sends_and_keeps_a_model_near_the_shared_one() {
    const LAMBDA: f32 = 0.7;
    let stage = Stage::new().await;
    let ditto = Ditto {
        lambda: LAMBDA,
        epochs: 2,
    };
    let plan = personalised(&stage.plan, Kind::Ditto(ditto));
    let d = stage.parameters();
    let mut engine = stage.engine();
    let mut personal = |from: &[f32], shared: &[f32]| {
        descend(&mut engine, from, 2, RATE, |weights, gradient| {
            for (index, gradient) in gradient.iter_mut().enumerate() {
                *gradient += LAMBDA * (weights[index] - shared[index]);
            }
        })
    };
    let first = stage.model.weights.clone();
    let sent = stage.round(1, &plan, &first, &[], d).await;
    assert_eq!(sent.values, averaged(&stage, &plan, &first), "to the bit");
    let v = personal(&first, &first);
    let view = &stage.agent.view;
    assert_near(&view.personal_model(RUN, None).unwrap(), &v);
    let second = times(0.5, &first);
    stage.round(2, &plan, &second, &[], d).await;
    let v = personal(&v, &second);
    assert_near(&view.personal_model(RUN, None).unwrap(), &v);
    assert_near(&view.personal_model(RUN, Some(&first)).unwrap(), &v);
}

#[tokio::test]
async fn apfl_mixes_a_personal_model_and_adapts_its_share() {
    for adaptive in [false, true] {
        let stage = Stage::new().await;
        let apfl = Apfl {
            alpha: 0.25,
            adaptive,
        };
        let plan = personalised(&stage.plan, Kind::Apfl(apfl));
        let d = stage.parameters();
        let mut engine = stage.engine();
        let first = stage.model.weights.clone();
        let second = times(0.5, &first);
        let (mut v, mut alpha) = (first.clone(), 0.25_f32);
        for (round, start) in [(1, &first), (2, &second)] {
            let sent = stage.round(round, &plan, start, &[], d).await;
            let mut w = start.clone();
            for step in 0..3 {
                let mixed: Vec<f32> = v
                    .iter()
                    .zip(&w)
                    .map(|(v, w)| alpha * v + (1.0 - alpha) * w)
                    .collect();
                let share = alpha;
                let at_mixture = gradient(&mut engine, &mixed).0;
                if adaptive && step == 0 {
                    let apart = minus(&v, &w);
                    let slope: f32 = apart.iter().zip(&at_mixture).map(|(a, g)| a * g).sum();
                    alpha = (alpha - RATE * slope).clamp(0.0, 1.0);
                }
                v = minus(&v, &times(RATE * share, &at_mixture));
                w = minus(&w, &times(RATE, &gradient(&mut engine, &w).0));
            }
            assert_near(&sent.values, &minus(&w, start));
            let expected: Vec<f32> = v
                .iter()
                .zip(start)
                .map(|(v, w)| alpha * v + (1.0 - alpha) * w)
                .collect();
            let model = stage.agent.view.personal_model(RUN, None).unwrap();
            assert_near(&model, &expected);
        }
        assert_eq!(
            alpha != 0.25,
            adaptive,
            "the share moves where it adapts: {alpha}"
        );
    }
}

#[tokio::test]
async fn ifca_trains_the_model_that_fits_the_data_best_and_says_which() {
    let stage = Stage::new().await;
    let plan = personalised(&stage.plan, Kind::Ifca(Ifca {}));
    let mut engine = stage.engine();
    let d = stage.parameters();
    // the third has had some training on the device's data
    let good = descend(&mut engine, &stage.model.weights, 40, RATE, plainly);
    let clusters = [times(1.5, &good), stage.model.weights.clone(), good.clone()];
    let losses = clusters.clone().map(|weights| {
        let data = data();
        engine.loss(&weights, batch(&data)).unwrap()
    });
    let best = (0..3)
        .min_by(|&a, &b| losses[a].total_cmp(&losses[b]))
        .unwrap();
    assert!(best > 0, "a choice that is not the first: {losses:?}");
    let digests: Vec<String> = clusters
        .iter()
        .map(|weights| stage.version(weights))
        .collect();
    let sent = stage.round(1, &plan, &clusters[0], &digests, d).await;
    assert_eq!(sent.header.cluster as usize, best);
    assert_eq!(sent.header.model_digest, digests[best]);
    let trained = descend(&mut engine, &clusters[best], 3, RATE, plainly);
    assert_near(&sent.values, &minus(&trained, &clusters[best]));
    assert_eq!(stage.agent.view.cluster(RUN), Some(best as u32));
    let model = stage.agent.view.personal_model(RUN, None).unwrap();
    assert_eq!(model, clusters[best]);
    assert_apart(&model, &clusters[0]);
}

#[tokio::test]
async fn models_of_different_architectures_are_no_clusters() {
    let stage = Stage::new().await;
    let plan = personalised(&stage.plan, Kind::Ifca(Ifca {}));
    let weights = &stage.model.weights;
    let mut other: ModelFile = stage.model.clone();
    other.spec.name = "other".to_owned();
    let other = stage.server.world.put(other.to_bytes().unwrap());
    let digests = [stage.version(weights), other];
    stage.order(1, &plan, weights, &digests).await;
    stage.until("abandoned.bad_plan", 1).await;
}

#[tokio::test]
async fn a_cluster_that_has_diverged_is_passed_over() {
    let stage = Stage::new().await;
    let plan = personalised(&stage.plan, Kind::Ifca(Ifca {}));
    let weights = stage.model.weights.clone();
    let diverged = vec![f32::MAX; weights.len()];
    let digests = [stage.version(&diverged), stage.version(&weights)];
    let sent = stage
        .round(1, &plan, &diverged, &digests, weights.len())
        .await;
    assert_eq!(sent.header.cluster, 1);
}
