//! Small networks and data for the tests of this crate.
#![allow(dead_code, clippy::unwrap_used)] // shared by tests that use part of it

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use tributary_model::layers::{
    Conv1d, Dense, Flatten, GlobalAveragePool, LayerSpec, MaxPool1d, Relu, Softmax,
};
use tributary_model::{Graph, ModelSpec};

pub fn spec(input: Vec<usize>, layers: Vec<LayerSpec>) -> ModelSpec {
    let kinds: Vec<_> = layers.iter().map(LayerSpec::kind).collect();
    let mut name = format!("net {}", kinds.join(" "));
    name.truncate(60);
    ModelSpec {
        name,
        input,
        layers,
    }
}

pub fn graph(features: usize, layers: Vec<LayerSpec>) -> Graph {
    spec(vec![features], layers).graph().unwrap()
}

fn dense(units: usize) -> LayerSpec {
    Dense { units }.into()
}

fn conv(filters: usize, kernel: usize, stride: usize) -> LayerSpec {
    Conv1d {
        filters,
        kernel,
        stride,
    }
    .into()
}

fn pool(size: usize, stride: usize) -> LayerSpec {
    MaxPool1d { size, stride }.into()
}

/// Networks with convolutions and pools, strided, overlapping and with leftover steps.
pub fn conv_nets() -> Vec<Graph> {
    let (relu, flat, mean, soft): (LayerSpec, LayerSpec, LayerSpec, LayerSpec) = (
        Relu.into(),
        Flatten.into(),
        GlobalAveragePool.into(),
        Softmax.into(),
    );
    let nets = [
        (
            vec![6, 25],
            vec![
                conv(8, 5, 1),
                relu.clone(),
                pool(2, 2),
                flat.clone(),
                dense(7),
                soft.clone(),
            ],
        ),
        (
            vec![3, 17],
            vec![
                conv(4, 3, 2),
                relu.clone(),
                conv(5, 2, 3),
                mean.clone(),
                dense(4),
            ],
        ),
        (
            vec![2, 11],
            vec![pool(3, 2), conv(3, 4, 1), mean.clone(), soft.clone()],
        ),
        (vec![1, 9], vec![conv(2, 9, 1), flat.clone(), soft.clone()]),
        (
            vec![4, 12],
            vec![
                conv(1, 1, 1),
                pool(4, 1),
                relu.clone(),
                flat.clone(),
                dense(3),
                soft.clone(),
            ],
        ),
        (
            vec![3, 8],
            vec![mean, dense(5), relu, dense(2), soft.clone()],
        ),
        (
            vec![2, 10],
            vec![
                conv(16, 3, 1),
                pool(3, 3),
                conv(16, 2, 1),
                flat,
                dense(10),
                soft,
            ],
        ),
    ];
    nets.into_iter()
        .map(|(input, layers)| spec(input, layers).graph().unwrap())
        .collect()
}

/// The networks above and dense ones, so that every kind of layer occurs.
pub fn every_net() -> Vec<Graph> {
    let mut nets = conv_nets();
    for (features, hidden, classes) in [
        (150, vec![32], 7),
        (4, vec![], 2),
        (64, vec![32, 16], 10),
        (1, vec![1], 2),
    ] {
        nets.push(
            ModelSpec::perceptron("perceptron", features, &hidden, classes)
                .graph()
                .unwrap(),
        );
    }
    // softmax as an activation in the middle, and scores without a softmax
    nets.push(graph(6, vec![dense(5), Softmax.into(), dense(3)]));
    nets.push(graph(
        3,
        vec![Relu.into(), dense(4), Relu.into(), dense(4), Softmax.into()],
    ));
    nets
}

/// Inputs uniform on (-1, 1) and labels over all classes.
pub fn labelled_batch(graph: &Graph, examples: usize, seed: u64) -> (Vec<f32>, Vec<u32>) {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut value = || (rng.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0;
    let inputs = (0..examples * graph.features()).map(|_| value()).collect();
    let classes = graph.classes() as u32;
    let labels = (0..examples).map(|_| rng.next_u32() % classes).collect();
    (inputs, labels)
}
