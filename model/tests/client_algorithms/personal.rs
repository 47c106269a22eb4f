//! Personal models beside the shared one, on the worked problem and on a small network.

use tributary_model::{
    Correction, FastEngine, LocalTraining, Mixture, ModelError, ModelSpec, Proximal, initialise,
    mean_loss, named_parameters, train, train_corrected, train_mixture,
};

use crate::quadratic::{START, TARGET, assert_near, engine, one, rng, steps};

#[test]
fn ditto_pulls_the_personal_model_towards_the_shared_one() {
    let mut personal = [2.0, 0.0];
    let correction = Correction {
        proximal: Some(Proximal {
            strength: 1.0,
            anchor: &START,
        }),
        ..Correction::default()
    };
    train_corrected(
        &mut engine(),
        &mut personal,
        one(&TARGET),
        &steps(1, 0.1),
        &correction,
        &mut rng(),
    )
    .unwrap();
    // (-1, 2) + 1 x (1, -1) = (0, 1)
    assert_near(&personal, &[2.0, -0.1]);
}

fn mixture(adaptive: bool) -> ([f32; 2], [f32; 2], f32) {
    let (mut shared, mut personal, mut alpha) = (START, [2.0, 0.0], 0.5);
    let mixture = Mixture {
        personal: &mut personal,
        alpha: &mut alpha,
        adaptive,
    };
    let none = Correction::default();
    train_mixture(
        &mut engine(),
        &mut shared,
        mixture,
        one(&TARGET),
        &steps(1, 0.1),
        &none,
        &mut rng(),
    )
    .unwrap();
    (shared, personal, alpha)
}

#[test]
fn apfl_trains_both_models_at_the_mixture() {
    // the mixture of (2, 0) and (1, 1) is (1.5, 0.5), where the gradient is (-1.5, 3)
    let (shared, personal, alpha) = mixture(false);
    assert_near(&shared, &[1.2, 0.6]);
    assert_near(&personal, &[2.0 + 0.1 * 0.5 * 1.5, 0.0 - 0.1 * 0.5 * 3.0]);
    assert_eq!(alpha, 0.5);
}

#[test]
fn an_adaptive_share_moves_by_its_own_derivative() {
    // <(2, 0) - (1, 1), (-1.5, 3)> = -4.5: alpha = 0.5 + 0.1 x 4.5
    assert_near(&[mixture(true).2], &[0.95]);
}

#[test]
fn a_share_outside_its_range_is_refused() {
    let (mut shared, mut personal, mut alpha) = (START, START, 1.5);
    let mixture = Mixture {
        personal: &mut personal,
        alpha: &mut alpha,
        adaptive: false,
    };
    let none = Correction::default();
    let refused = train_mixture(
        &mut engine(),
        &mut shared,
        mixture,
        one(&TARGET),
        &steps(1, 0.1),
        &none,
        &mut rng(),
    );
    assert!(matches!(refused, Err(ModelError::Training { field, .. }) if field.contains("alpha")));
}

#[test]
fn the_shared_model_of_a_mixture_ends_with_the_bits_of_plain_training() {
    let graph = ModelSpec::perceptron("net", 3, &[5], 3).graph().unwrap();
    let inputs: Vec<f32> = (0..30).map(|i| (i * 7 % 11) as f32 / 11.0).collect();
    let labels: Vec<u32> = (0..10).map(|i| i % 3).collect();
    let data = tributary_model::Batch {
        inputs: &inputs,
        labels: &labels,
    };
    let settings = LocalTraining {
        epochs: 3,
        batch_size: 4,
        learning_rate: 0.2,
        max_steps: 0,
    };
    let mut engine = FastEngine::new(&graph);
    let start = initialise(&graph, [3; 32]);
    let mut plain = start.clone();
    train(&mut engine, &mut plain, data, &settings, &mut rng()).unwrap();
    let (mut shared, mut personal, mut alpha) = (start.clone(), start.clone(), 0.5);
    let mixture = Mixture {
        personal: &mut personal,
        alpha: &mut alpha,
        adaptive: true,
    };
    let none = Correction::default();
    train_mixture(
        &mut engine,
        &mut shared,
        mixture,
        data,
        &settings,
        &none,
        &mut rng(),
    )
    .unwrap();
    assert_eq!(shared, plain);
    assert_ne!(personal, start);
}

#[test]
fn named_layers_rest_while_the_others_learn_and_the_loss_falls() {
    let graph = ModelSpec::perceptron("net", 3, &[5], 3).graph().unwrap();
    let inputs: Vec<f32> = (0..30).map(|i| (i * 7 % 11) as f32 / 11.0).collect();
    let labels: Vec<u32> = (0..10).map(|i| i % 3).collect();
    let data = tributary_model::Batch {
        inputs: &inputs,
        labels: &labels,
    };
    let head = named_parameters(&graph, &["2.".to_owned()]);
    let mut engine = FastEngine::new(&graph);
    let start = initialise(&graph, [3; 32]);
    let mut params = start.clone();
    let correction = Correction {
        frozen: Some(&head),
        ..Correction::default()
    };
    let before = mean_loss(&mut engine, &params, data).unwrap();
    train_corrected(
        &mut engine,
        &mut params,
        data,
        &LocalTraining {
            epochs: 20,
            batch_size: 10,
            learning_rate: 0.2,
            max_steps: 0,
        },
        &correction,
        &mut rng(),
    )
    .unwrap();
    for ((after, before), rests) in params.iter().zip(&start).zip(&head) {
        assert!(!rests || after.to_bits() == before.to_bits());
    }
    assert!(
        params
            .iter()
            .zip(&start)
            .any(|(after, before)| after != before)
    );
    assert!(mean_loss(&mut engine, &params, data).unwrap() < before);
}
