//! Small trained models and the data they were trained on.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use tributary_model::quant::{ActivationRanges, Int8Model, observe_ranges, quantise};
use tributary_model::{Batch, FastEngine, Graph, LocalTraining, ModelSpec, initialise, train};

/// A trained model with held-out examples.
pub struct Trained {
    pub graph: Graph,
    pub params: Vec<f32>,
    pub ranges: ActivationRanges,
    /// Examples that neither training nor calibration saw.
    pub inputs: Vec<f32>,
    pub labels: Vec<u32>,
}

impl Trained {
    pub fn int8(&self) -> Int8Model {
        quantise(&self.graph, &self.params, &self.ranges).unwrap()
    }
}

pub fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

/// Uniform on -1..1.
pub fn signed_unit(rng: &mut ChaCha20Rng) -> f32 {
    rng.next_u32() as f32 / u32::MAX as f32 * 2.0 - 1.0
}

/// `count` examples scattered around one centre per class.
fn examples(
    centres: &[Vec<f32>],
    count: usize,
    noise: f32,
    rng: &mut ChaCha20Rng,
) -> (Vec<f32>, Vec<u32>) {
    let labels: Vec<u32> = (0..count)
        .map(|index| (index % centres.len()) as u32)
        .collect();
    let mut inputs = Vec::new();
    for &label in &labels {
        let centre = &centres[label as usize];
        inputs.extend(centre.iter().map(|value| value + noise * signed_unit(rng)));
    }
    (inputs, labels)
}

/// Trains the architecture on a few noisy clusters; the same seed gives the same model.
pub fn trained(spec: &str, seed: u8) -> Trained {
    let graph = ModelSpec::from_json(spec).unwrap().graph().unwrap();
    let mut rng = rng(seed);
    let centres: Vec<Vec<f32>> = (0..graph.classes())
        .map(|_| {
            (0..graph.features())
                .map(|_| signed_unit(&mut rng))
                .collect()
        })
        .collect();
    let (inputs, labels) = examples(&centres, 400, 1.5, &mut rng);
    let mut params = initialise(&graph, [seed; 32]);
    let data = Batch {
        inputs: &inputs,
        labels: &labels,
    };
    let plan = LocalTraining {
        epochs: 12,
        batch_size: 16,
        learning_rate: 0.05,
        max_steps: 0,
    };
    train(
        &mut FastEngine::new(&graph),
        &mut params,
        data,
        &plan,
        &mut rng,
    )
    .unwrap();
    let ranges = observe_ranges(&graph, &params, &inputs).unwrap();
    let (inputs, labels) = examples(&centres, 1_000, 1.5, &mut rng);
    Trained {
        graph,
        params,
        ranges,
        inputs,
        labels,
    }
}

pub const PERCEPTRON: &str = r#"{"name":"perceptron","input":[40],"layers":[
    {"kind":"dense","units":32},{"kind":"relu"},{"kind":"dense","units":16},{"kind":"relu"},
    {"kind":"dense","units":5},{"kind":"softmax"}]}"#;

pub const CONVOLUTION: &str = r#"{"name":"convolution","input":[3,24],"layers":[
    {"kind":"conv1d","filters":8,"kernel":3},{"kind":"relu"},{"kind":"max_pool1d","size":2},
    {"kind":"conv1d","filters":12,"kernel":3,"stride":2},{"kind":"relu"},{"kind":"flatten"},
    {"kind":"dense","units":4},{"kind":"softmax"}]}"#;

pub const AVERAGED: &str = r#"{"name":"averaged","input":[2,30],"layers":[
    {"kind":"conv1d","filters":16,"kernel":5},{"kind":"max_pool1d","size":2},{"kind":"relu"},
    {"kind":"conv1d","filters":24,"kernel":3},{"kind":"relu"},{"kind":"global_average_pool"},
    {"kind":"dense","units":3}]}"#;

pub const ALL: [&str; 3] = [PERCEPTRON, CONVOLUTION, AVERAGED];
