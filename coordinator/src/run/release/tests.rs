//! Releases of small rounds, against values worked by hand.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use tributary_aggregator::{
    Codec, EncodedContribution, FixedPoint, Partial, PreAggregator, RobustRule, RobustSpec,
    ServerOptimiser,
};
use tributary_model::{LocalAlgorithm, ModelSpec, Personalisation};

use super::super::payload::{PayloadLayout, UNIT};
use super::super::server_state::Shape;
use std::sync::Arc;

use super::*;
use crate::fixtures::{device, plain_spec};
use crate::run::Format;
use crate::run::costs::RunCosts;
use crate::run::server_state::ServerState;
use tributary_recipe::{RunSpec, TrainingSpec};

/// Two inputs, two classes: four weights and two biases.
const PARAMETERS: usize = 6;

fn model() -> ModelSpec {
    ModelSpec::perceptron("tiny", 2, &[], 2)
}

fn spec(change: impl FnOnce(&mut TrainingSpec)) -> RunSpec {
    let mut spec = plain_spec();
    change(&mut spec.training);
    spec
}

fn shape(optimiser: ServerOptimiser, models: usize) -> Shape {
    Shape {
        optimiser,
        models,
        dimension: PARAMETERS,
        noise: None,
    }
}

/// A release of nothing yet, from weights that are all 1, without noise.
fn release(spec: &RunSpec, models: usize) -> Release {
    let graph = model().graph().unwrap();
    let payload = PayloadLayout::new(&spec.training, &graph);
    let base = ModelFile {
        spec: model(),
        weights: vec![1.0; PARAMETERS],
    };
    let average = ServerOptimiser::FedAvg { learning_rate: 1.0 };
    Release {
        collected: Collected::Updates(Vec::new()),
        format: Arc::new(Format {
            codec: Codec::F32,
            fixed: FixedPoint::new(100.0, payload.len()).unwrap(),
            payload,
            robust: None,
            staleness_cap: 0,
            is_private: false,
        }),
        cohort: 4,
        regions: 2,
        costs: RunCosts::new(spec, &FixedPoint::new(100.0, 6).unwrap(), None).unwrap(),
        bases: vec![base; models],
        server: ServerState::new(&shape(average, models)).unwrap(),
        control: None,
        population: 8,
        trusted: None,
        rule_seed: 1,
        noise_seed: None,
        clip: RoundClip {
            now: 100.0,
            moves: false,
            only: false,
        },
        local_noise: 0.0,
        before: None,
    }
}

fn encoded(values: &[f32]) -> Vec<u8> {
    Codec::F32.encode(values, &mut ChaCha20Rng::from_seed([1; 32]))
}

/// The sum of updates with their weights and works.
fn sum(release: &Release, updates: &[(&[f32], u64, u64)]) -> Partial {
    let fixed = &release.format.fixed;
    let mut sum = Partial::new(fixed.dimension());
    for (values, weight, work) in updates {
        let bytes = encoded(values);
        let update = EncodedContribution {
            bytes: &bytes,
            weight: *weight,
            work: *work,
            share: 1.0,
        };
        for outcome in sum.add_many(fixed, Codec::F32, &[update]) {
            outcome.unwrap();
        }
    }
    sum
}

fn run(mut release: Release, sums: Vec<Partial>) -> Released {
    release.collected = Collected::Sums(Arc::new(Sealed::Sums(sums)));
    match release.run() {
        Ok(released) => released,
        Err(refused) => panic!("{}", refused.0),
    }
}

/// Equal to a ten-thousandth: the grid has steps of 100 / 2^20.
fn close(weights: &[f32], expected: &[f32]) {
    let near = |(a, b): (&f32, &f32)| (a - b).abs() < 2e-4;
    let all = weights.len() == expected.len() && weights.iter().zip(expected).all(near);
    assert!(all, "{weights:?}, expected {expected:?}");
}

#[test]
fn without_privacy_the_mean_is_over_those_that_came() {
    let release = release(&spec(|_| {}), 1);
    let east = sum(&release, &[(&[3.0; 6], UNIT, 0), (&[-1.0; 6], UNIT, 0)]);
    let west = sum(&release, &[(&[4.0; 6], UNIT, 0)]);
    let released = run(release, vec![east, west]);
    close(&released.main.weights, &[3.0; 6]);
    assert!(released.variants.is_empty());
}

#[test]
fn weights_by_examples_divide_by_their_sum() {
    // the device has multiplied its delta of 8 by a quarter
    let release = release(&spec(|training| training.examples_cap = Some(100)), 1);
    let sums = sum(&release, &[(&[2.0; 6], UNIT / 4, 0), (&[3.0; 6], UNIT, 0)]);
    let nobody = Partial::new(PARAMETERS);
    // (8 x 1/4 + 3 x 1) / (1/4 + 1) = 4
    close(&run(release, vec![sums, nobody]).main.weights, &[5.0; 6]);
}

#[test]
fn fednova_multiplies_the_mean_normalised_delta_by_the_mean_steps() {
    let release = release(
        &spec(|training| training.algorithm = LocalAlgorithm::FedNova),
        1,
    );
    // deltas 2 and 12 after 2 and 6 steps: normalised 1 and 2, mean 1.5, times mean steps 4
    let updates: [(&[f32], u64, u64); 2] =
        [(&[1.0; 6], UNIT, 2 * UNIT), (&[2.0; 6], UNIT, 6 * UNIT)];
    let sums = vec![sum(&release, &updates), Partial::new(PARAMETERS)];
    close(&run(release, sums).main.weights, &[7.0; 6]);
}

#[test]
fn scaffold_moves_the_control_variate_by_the_share_of_all_devices() {
    let spec = spec(|training| training.algorithm = LocalAlgorithm::Scaffold);
    let mut release = release(&spec, 1);
    release.control = Some(vec![10.0; 6]);
    let payload: Vec<f32> = [[2.0; 6], [4.0; 6]].concat();
    let sums = vec![sum(&release, &[(&payload, UNIT, 0)]), Partial::new(12)];
    let released = run(release, sums);
    close(&released.main.weights, &[3.0; 6]);
    // one of eight devices changed its variate by 4
    close(&released.control.unwrap(), &[10.5; 6]);
}

#[test]
fn personal_layers_stay_as_they_are_on_the_server() {
    let layers = vec!["0.dense.bias".to_owned()];
    let method = Personalisation::FedPer { layers };
    let release = release(&spec(|training| training.personalisation = Some(method)), 1);
    let sums = vec![sum(&release, &[(&[2.0; 4], UNIT, 0)]), Partial::new(4)];
    let released = run(release, sums);
    close(&released.main.weights, &[3.0, 3.0, 3.0, 3.0, 1.0, 1.0]);
}

#[test]
fn regional_heads_differ_and_the_rest_is_one() {
    let layers = vec!["0.dense.bias".to_owned()];
    let method = Personalisation::RegionHeads { layers };
    let release = release(&spec(|training| training.personalisation = Some(method)), 2);
    let east = sum(&release, &[(&[2.0; 6], UNIT, 0), (&[4.0; 6], UNIT, 0)]);
    let west = sum(&release, &[(&[9.0; 6], UNIT, 0)]);
    let released = run(release, vec![east, west]);
    close(
        &released.variants[0].weights,
        &[6.0, 6.0, 6.0, 6.0, 4.0, 4.0],
    );
    close(
        &released.variants[1].weights,
        &[6.0, 6.0, 6.0, 6.0, 10.0, 10.0],
    );
    close(&released.main.weights, &[6.0, 6.0, 6.0, 6.0, 7.0, 7.0]);
}

#[test]
fn a_cluster_that_nobody_trained_keeps_its_model() {
    let method = Personalisation::Ifca { clusters: 2 };
    let release = release(&spec(|training| training.personalisation = Some(method)), 2);
    let nobody = || Partial::new(PARAMETERS);
    let first = sum(&release, &[(&[2.0; 6], UNIT, 0)]);
    let second = sum(&release, &[(&[4.0; 6], UNIT, 0)]);
    // by region, then cluster: both regions trained the first cluster
    let released = run(release, vec![first, nobody(), second, nobody()]);
    close(&released.variants[0].weights, &[4.0; 6]);
    close(&released.variants[1].weights, &[1.0; 6]);
    assert_eq!(released.main, released.variants[0]);
}

#[test]
fn a_robust_round_bears_a_hostile_update_and_remembers_its_centre() {
    let mut release = release(&spec(|_| {}), 1);
    let mut format = (*release.format).clone();
    format.robust = Some(RobustSpec {
        byzantine: 1,
        pre: vec![PreAggregator::Arc],
        rule: RobustRule::Median {},
    });
    release.format = Arc::new(format);
    let update = |number: usize, value: f32| (device(number), vec![value; PARAMETERS]);
    let updates = [(1, 1.0), (2, 2.0), (3, 3.0), (4, -30.0), (5, 2.5)];
    let updates = updates.map(|(number, value)| update(number, value));
    release.collected = Collected::Updates(updates.to_vec());
    let Ok(released) = release.run() else {
        panic!("a valid round")
    };
    close(&released.main.weights, &[3.0; 6]);
    close(&released.server.centre.unwrap(), &[2.0; 6]);
}

#[test]
fn a_refused_release_gives_the_models_back() {
    let mut release = release(&spec(|_| {}), 1);
    let mut format = (*release.format).clone();
    format.robust = Some(RobustSpec::against(3));
    release.format = Arc::new(format);
    release.collected = Collected::Updates(vec![(device(1), vec![1.0; PARAMETERS])]);
    let Err(refused) = release.run() else {
        panic!("one update can't bear three hostile ones")
    };
    let (error, release) = *refused;
    assert!(matches!(error, CoordinatorError::Robust(_)), "{error}");
    assert_eq!(release.bases[0].weights, [1.0; PARAMETERS]);
}

#[test]
fn a_round_without_its_rule_or_its_sums_is_a_contradiction_and_not_a_stop() {
    let code = |collected| {
        let release = Release {
            collected,
            ..release(&spec(|_| {}), 1)
        };
        let refused = release.run().map(drop).map_err(|refused| refused.0.code());
        refused.unwrap_err()
    };
    let update = (device(1), vec![0.0; PARAMETERS]);
    assert_eq!(code(Collected::Updates(vec![update])), "TRB-0611");
    let nothing = Arc::new(Sealed::Sums(Vec::new()));
    assert_eq!(code(Collected::Sums(nothing)), "TRB-0611");
}
