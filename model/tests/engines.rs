//! The two engines against each other and against finite differences.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod nets;

use nets::{conv_nets, every_net, graph, labelled_batch, spec};
use tributary_model::layers::{Dense, Softmax};
use tributary_model::{Batch, BurnEngine, Engine, FastEngine, Graph, ModelError, initialise};

/// Fails unless `|a - b| <= 1e-5 + 1e-4 |b|` everywhere.
#[track_caller]
fn assert_close(what: &str, left: &[f32], right: &[f32]) {
    assert_eq!(left.len(), right.len());
    for (index, (a, b)) in left.iter().zip(right).enumerate() {
        assert!(
            (a - b).abs() <= 1e-5 + 1e-4 * b.abs(),
            "{what} {index}: {a} against {b}"
        );
    }
}

fn gradient(engine: &mut dyn Engine, params: &[f32], batch: Batch<'_>) -> (f32, Vec<f32>) {
    // NaN shows whether every value is overwritten
    let mut gradient = vec![f32::NAN; params.len()];
    let loss = engine.gradient(params, batch, &mut gradient).unwrap();
    (loss, gradient)
}

#[test]
fn engines_agree_on_loss_gradient_and_prediction_for_every_layer_kind() {
    let mut kinds = std::collections::BTreeSet::new();
    for (number, graph) in every_net().into_iter().enumerate() {
        kinds.extend(graph.layers().iter().map(|layer| layer.kind()));
        for examples in [1, 2, 8, 33] {
            let (inputs, labels) = labelled_batch(&graph, examples, number as u64);
            let batch = Batch {
                inputs: &inputs,
                labels: &labels,
            };
            let params = initialise(&graph, [number as u8; 32]);
            let (mut fast, mut burn) = (FastEngine::new(&graph), BurnEngine::new(&graph));
            let what = format!("{} batch {examples}", graph.spec().name);
            let (fast_loss, fast_gradient) = gradient(&mut fast, &params, batch);
            let (burn_loss, burn_gradient) = gradient(&mut burn, &params, batch);
            assert_close(&format!("{what} loss"), &[fast_loss], &[burn_loss]);
            assert_close(&format!("{what} gradient"), &fast_gradient, &burn_gradient);
            let (mut fast_out, mut burn_out) = (Vec::new(), Vec::new());
            fast.predict(&params, &inputs, &mut fast_out).unwrap();
            burn.predict(&params, &inputs, &mut burn_out).unwrap();
            assert_close(&format!("{what} probabilities"), &fast_out, &burn_out);
        }
    }
    let all: std::collections::BTreeSet<_> =
        tributary_model::LayerSpec::KINDS.iter().copied().collect();
    assert_eq!(kinds, all, "every layer kind is in some net");
}

#[test]
fn engines_stay_together_for_ten_steps() {
    for (number, graph) in every_net().into_iter().enumerate() {
        let (inputs, labels) = labelled_batch(&graph, 16, 100 + number as u64);
        let batch = Batch {
            inputs: &inputs,
            labels: &labels,
        };
        let start = initialise(&graph, [number as u8; 32]);
        let (mut fast_params, mut burn_params) = (start.clone(), start.clone());
        let (mut fast, mut burn) = (FastEngine::new(&graph), BurnEngine::new(&graph));
        for _ in 0..10 {
            let fast_loss = fast.step(&mut fast_params, batch, 0.05).unwrap();
            let burn_loss = burn.step(&mut burn_params, batch, 0.05).unwrap();
            assert_close(&graph.spec().name, &[fast_loss], &[burn_loss]);
        }
        assert_close(&graph.spec().name, &fast_params, &burn_params);
        assert!(start.is_empty() || start != fast_params);
    }
}

#[test]
fn a_step_is_the_gradient_times_the_learning_rate() {
    for (number, graph) in every_net().into_iter().enumerate() {
        let (inputs, labels) = labelled_batch(&graph, 5, number as u64);
        let batch = Batch {
            inputs: &inputs,
            labels: &labels,
        };
        let params = initialise(&graph, [3; 32]);
        let mut engine = FastEngine::new(&graph);
        let (loss, gradient) = gradient(&mut engine, &params, batch);
        let mut stepped = params.clone();
        assert_eq!(engine.step(&mut stepped, batch, 0.1).unwrap(), loss);
        let by_hand: Vec<f32> = params
            .iter()
            .zip(&gradient)
            .map(|(p, g)| p - 0.1 * g)
            .collect();
        assert_close(&graph.spec().name, &stepped, &by_hand);
    }
}

/// Central difference of the loss along `direction`.
fn slope(graph: &Graph, params: &[f32], direction: &[f32], batch: Batch<'_>, h: f32) -> f64 {
    let mut engine = FastEngine::new(graph);
    let mut ignored = vec![0.0; params.len()];
    let mut loss_at = |step: f32| {
        let moved: Vec<f32> = params
            .iter()
            .zip(direction)
            .map(|(p, d)| p + step * d)
            .collect();
        f64::from(engine.gradient(&moved, batch, &mut ignored).unwrap())
    };
    (loss_at(h) - loss_at(-h)) / (2.0 * f64::from(h))
}

#[test]
fn gradients_match_finite_differences_along_each_tensor() {
    for (number, graph) in every_net().into_iter().enumerate() {
        let (inputs, labels) = labelled_batch(&graph, 8, 50 + number as u64);
        let batch = Batch {
            inputs: &inputs,
            labels: &labels,
        };
        let params = initialise(&graph, [9; 32]);
        let (_, gradient) = gradient(&mut FastEngine::new(&graph), &params, batch);
        for entry in &graph.layout().entries {
            // along the gradient itself the slope is its norm, so nothing can cancel
            let norm = gradient[entry.range()]
                .iter()
                .map(|g| g * g)
                .sum::<f32>()
                .sqrt();
            if norm < 1e-3 {
                continue;
            }
            let mut direction = vec![0.0; params.len()];
            for index in entry.range() {
                direction[index] = gradient[index] / norm;
            }
            let slope = slope(&graph, &params, &direction, batch, 2e-3);
            let difference = (slope - f64::from(norm)).abs();
            let limit = 2e-3 + 0.02 * f64::from(norm);
            assert!(
                difference < limit,
                "{} {}: {slope} {norm}",
                graph.spec().name,
                entry.path
            );
        }
    }
}

#[test]
fn an_engine_gives_the_same_bits_after_other_batches_and_on_other_threads() {
    for graph in conv_nets() {
        let params = initialise(&graph, [4; 32]);
        let (inputs, labels) = labelled_batch(&graph, 8, 1);
        let batch = Batch {
            inputs: &inputs,
            labels: &labels,
        };
        let (loss, expected) = gradient(&mut FastEngine::new(&graph), &params, batch);
        let results: Vec<_> = std::thread::scope(|scope| {
            let work = |seed: u64| {
                let mut used = FastEngine::new(&graph);
                let (inputs, labels) = labelled_batch(&graph, 20 + seed as usize, seed);
                gradient(
                    &mut used,
                    &params,
                    Batch {
                        inputs: &inputs,
                        labels: &labels,
                    },
                );
                gradient(&mut used, &params, batch)
            };
            let handles: Vec<_> = (0..4).map(|seed| scope.spawn(move || work(seed))).collect();
            handles
                .into_iter()
                .map(|handle| handle.join().unwrap())
                .collect()
        });
        for (other_loss, other) in results {
            assert_eq!(loss.to_bits(), other_loss.to_bits());
            assert!(
                expected
                    .iter()
                    .zip(&other)
                    .all(|(a, b)| a.to_bits() == b.to_bits())
            );
        }
    }
}

#[test]
fn a_large_batch_goes_in_pieces_with_the_same_result() {
    // 2^20 features leave room for 15 examples at once
    let graph = graph(1 << 20, vec![Dense { units: 2 }.into(), Softmax.into()]);
    let params = vec![1e-3; graph.layout().len()];
    let (inputs, labels) = labelled_batch(&graph, 17, 5);
    let mut engine = FastEngine::new(&graph);
    let (whole_loss, whole) = gradient(
        &mut engine,
        &params,
        Batch {
            inputs: &inputs,
            labels: &labels,
        },
    );
    let mut sum = vec![0.0_f32; params.len()];
    let mut loss = 0.0;
    for (inputs, labels) in inputs.chunks(1 << 20).zip(labels.chunks(1)) {
        let (one, part) = gradient(&mut engine, &params, Batch { inputs, labels });
        loss += one / 17.0;
        sum.iter_mut()
            .zip(&part)
            .for_each(|(sum, part)| *sum += part / 17.0);
    }
    assert_close("loss", &[whole_loss], &[loss]);
    assert_close("gradient", &whole, &sum);
    let mut stepped = params.clone();
    engine
        .step(
            &mut stepped,
            Batch {
                inputs: &inputs,
                labels: &labels,
            },
            0.5,
        )
        .unwrap();
    let by_hand: Vec<f32> = params
        .iter()
        .zip(&whole)
        .map(|(p, g)| p - 0.5 * g)
        .collect();
    assert_close("step", &stepped, &by_hand);
}

#[test]
fn activations_are_shown_in_order_and_end_with_the_prediction() {
    for graph in conv_nets() {
        let params = initialise(&graph, [1; 32]);
        let (inputs, _) = labelled_batch(&graph, 300, 2);
        let mut engine = FastEngine::new(&graph);
        let mut shown = vec![Vec::new(); graph.shapes().len()];
        engine
            .visit_activations(&params, &inputs, &mut |index, values| {
                shown[index].extend_from_slice(values);
            })
            .unwrap();
        let mut predicted = Vec::new();
        engine.predict(&params, &inputs, &mut predicted).unwrap();
        assert_eq!(shown[0], inputs);
        if graph.trunk_len() < graph.layers().len() {
            assert_eq!(shown.last(), Some(&predicted), "ends in softmax");
        }
        for (values, shape) in shown.iter().zip(graph.shapes()) {
            assert_eq!(values.len(), 300 * shape.iter().product::<usize>());
        }
    }
}

#[test]
fn wrong_lengths_and_labels_are_named_by_both_engines() {
    let graph = spec(vec![4], vec![Dense { units: 3 }.into()])
        .graph()
        .unwrap();
    let params = initialise(&graph, [0; 32]);
    let engines: [Box<dyn Engine>; 2] = [
        Box::new(FastEngine::new(&graph)),
        Box::new(BurnEngine::new(&graph)),
    ];
    for mut engine in engines {
        let mut stepped = params.clone();
        let mut step = |params: &mut [f32], inputs: &[f32], labels: &[u32]| {
            engine
                .step(params, Batch { inputs, labels }, 0.1)
                .unwrap_err()
        };
        let error = step(&mut stepped, &[], &[]);
        assert!(matches!(error, ModelError::EmptyBatch));
        let error = step(&mut stepped, &[0.0; 5], &[0]);
        assert!(matches!(
            error,
            ModelError::WrongLength {
                expected: 4,
                actual: 5,
                ..
            }
        ));
        let error = step(&mut stepped, &[0.0; 8], &[0, 3]);
        assert!(matches!(
            error,
            ModelError::LabelOutOfRange {
                index: 1,
                label: 3,
                classes: 3
            }
        ));
        let error = step(&mut stepped[..14], &[0.0; 4], &[0]);
        assert!(matches!(
            error,
            ModelError::WrongLength {
                expected: 15,
                actual: 14,
                ..
            }
        ));
        for bad in [f32::NAN, f32::INFINITY] {
            let error = step(&mut stepped, &[0.0, bad, 0.0, 0.0], &[0]);
            assert!(matches!(error, ModelError::NotFinite { what: "loss", .. }));
        }
        assert_eq!(stepped, params, "a refused step changes nothing");
        let error = engine
            .predict(&params, &[0.0; 6], &mut Vec::new())
            .unwrap_err();
        assert!(matches!(
            error,
            ModelError::WrongLength {
                expected: 8,
                actual: 6,
                ..
            }
        ));
    }
}
