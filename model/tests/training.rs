//! Local training and accuracy on a problem that a small model can solve.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use tributary_model::{
    Batch, BurnEngine, Engine, FastEngine, LocalTraining, ModelError, ModelSpec, accuracy,
    initialise, mean_loss, train,
};

/// Three clouds of radius 0.5 around corners that are 3 apart.
fn clouds(examples: usize, seed: u64) -> (Vec<f32>, Vec<u32>) {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut inputs = Vec::new();
    let mut labels = Vec::new();
    for example in 0..examples {
        let label = example % 3;
        for feature in 0..3 {
            let noise = (rng.next_u32() >> 8) as f32 / (1 << 24) as f32 - 0.5;
            inputs.push(if feature == label { 3.0 + noise } else { noise });
        }
        labels.push(label as u32);
    }
    (inputs, labels)
}

#[test]
fn training_solves_a_separable_problem_with_both_engines() {
    let graph = ModelSpec::perceptron("clouds", 3, &[8], 3).graph().unwrap();
    let (inputs, labels) = clouds(90, 1);
    let (test_inputs, test_labels) = clouds(300, 2);
    let data = Batch {
        inputs: &inputs,
        labels: &labels,
    };
    let test = Batch {
        inputs: &test_inputs,
        labels: &test_labels,
    };
    let settings = LocalTraining {
        epochs: 20,
        batch_size: 8,
        learning_rate: 0.1,
        max_steps: 0,
    };
    let mut trained = Vec::new();
    let engines: [Box<dyn Engine>; 2] = [
        Box::new(FastEngine::new(&graph)),
        Box::new(BurnEngine::new(&graph)),
    ];
    for mut engine in engines {
        let mut params = initialise(&graph, [1; 32]);
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let report = train(engine.as_mut(), &mut params, data, &settings, &mut rng).unwrap();
        // 11 full batches and one of two
        assert_eq!((report.steps, report.examples), (240, 1800));
        assert!(report.last_loss < 0.1 * report.first_loss, "{report:?}");
        assert_eq!(accuracy(engine.as_mut(), &params, test).unwrap(), 1.0);
        trained.push(params);
    }
    let apart = trained[0]
        .iter()
        .zip(&trained[1])
        .map(|(a, b)| (a - b).abs());
    assert!(apart.fold(0.0, f32::max) < 1e-3);
}

#[test]
fn training_repeats_to_the_bit_with_the_same_generator() {
    let graph = ModelSpec::perceptron("clouds", 3, &[8], 3).graph().unwrap();
    let (inputs, labels) = clouds(50, 1);
    let data = Batch {
        inputs: &inputs,
        labels: &labels,
    };
    let settings = LocalTraining {
        epochs: 3,
        batch_size: 7,
        learning_rate: 0.2,
        max_steps: 0,
    };
    let run = |seed| {
        let mut params = initialise(&graph, [1; 32]);
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        train(
            &mut FastEngine::new(&graph),
            &mut params,
            data,
            &settings,
            &mut rng,
        )
        .unwrap();
        params.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(
        run(1),
        run(2),
        "the order of examples depends on the generator"
    );
}

#[test]
fn diverging_training_is_an_error_and_not_a_model() {
    let graph = ModelSpec::perceptron("clouds", 3, &[8], 3).graph().unwrap();
    let (inputs, labels) = clouds(50, 1);
    let data = Batch {
        inputs: &inputs,
        labels: &labels,
    };
    let settings = LocalTraining {
        epochs: 50,
        batch_size: 8,
        learning_rate: 1e30,
        max_steps: 0,
    };
    let mut params = initialise(&graph, [1; 32]);
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut engine = FastEngine::new(&graph);
    let error = train(&mut engine, &mut params, data, &settings, &mut rng).unwrap_err();
    assert!(matches!(error, ModelError::NotFinite { .. }));
}

#[test]
fn accuracy_is_the_share_of_right_answers() {
    let graph = ModelSpec::perceptron("identity", 2, &[], 2)
        .graph()
        .unwrap();
    let identity = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0];
    let inputs = [2.0, 1.0, 1.0, 2.0, 5.0, 1.0, 3.0, 3.0];
    let mut engine = FastEngine::new(&graph);
    let mut share = |labels: &[u32]| {
        accuracy(
            &mut engine,
            &identity,
            Batch {
                inputs: &inputs,
                labels,
            },
        )
        .unwrap()
    };
    assert_eq!(share(&[0, 1, 0, 0]), 1.0);
    assert_eq!(share(&[0, 1, 1, 1]), 0.5);
    let nan = [f32::NAN; 8];
    let batch = Batch {
        inputs: &nan,
        labels: &[0, 1, 0, 0],
    };
    assert!(matches!(
        accuracy(&mut engine, &identity, batch),
        Err(ModelError::NotFinite { .. })
    ));
}

#[test]
fn the_mean_loss_is_that_of_one_whole_batch_with_both_engines() {
    let graph = ModelSpec::perceptron("clouds", 3, &[8], 3).graph().unwrap();
    // more examples than are looked at in one piece
    let (inputs, labels) = clouds(700, 1);
    let data = Batch {
        inputs: &inputs,
        labels: &labels,
    };
    let params = initialise(&graph, [1; 32]);
    let mut gradient = vec![0.0; params.len()];
    let mut fast = FastEngine::new(&graph);
    let whole = f64::from(fast.gradient(&params, data, &mut gradient).unwrap());
    let fast = mean_loss(&mut fast, &params, data).unwrap();
    let burn = mean_loss(&mut BurnEngine::new(&graph), &params, data).unwrap();
    assert!(
        (fast - whole).abs() < 1e-5 && (burn - whole).abs() < 1e-4,
        "{fast} {burn} {whole}"
    );
}
