//! The same training in plain loops over whole batches.

use tributary_device::Examples;
use tributary_model::{Batch, Engine, FastEngine};

use crate::fake::setting::examples;
use crate::stage::FEATURES;

pub fn data() -> Examples {
    examples(FEATURES, 12)
}

pub fn batch(data: &Examples) -> Batch<'_> {
    Batch {
        inputs: &data.inputs,
        labels: &data.labels,
    }
}

/// Gradient and mean loss of all examples.
pub fn gradient(engine: &mut FastEngine, weights: &[f32]) -> (Vec<f32>, f32) {
    let data = data();
    let mut gradient = vec![0.0; weights.len()];
    let loss = engine.gradient(weights, batch(&data), &mut gradient);
    (gradient, loss.unwrap())
}

/// `steps` full-batch steps of `rate` from `start`; `correct` sees weights and gradient.
pub fn descend(
    engine: &mut FastEngine,
    start: &[f32],
    steps: u32,
    rate: f32,
    correct: impl Fn(&[f32], &mut [f32]),
) -> Vec<f32> {
    let mut weights = start.to_vec();
    for _ in 0..steps {
        let mut gradient = gradient(engine, &weights).0;
        correct(&weights, &mut gradient);
        for (weight, gradient) in weights.iter_mut().zip(&gradient) {
            *weight -= rate * gradient;
        }
    }
    weights
}

pub fn plainly(_: &[f32], _: &mut [f32]) {}

pub fn minus(after: &[f32], before: &[f32]) -> Vec<f32> {
    after.iter().zip(before).map(|(a, b)| a - b).collect()
}

pub fn plus(one: &[f32], other: &[f32]) -> Vec<f32> {
    one.iter().zip(other).map(|(a, b)| a + b).collect()
}

pub fn times(factor: f32, values: &[f32]) -> Vec<f32> {
    values.iter().map(|value| factor * value).collect()
}

pub fn norm(values: &[f32]) -> f32 {
    values.iter().map(|value| value * value).sum::<f32>().sqrt()
}

/// The device adds examples in another order: sums differ in their last bits.
pub fn assert_near(actual: &[f32], expected: &[f32]) {
    assert_eq!(actual.len(), expected.len());
    let scale = expected
        .iter()
        .fold(0.0_f32, |most, value| most.max(value.abs()));
    for (index, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!(
            (a - e).abs() <= 1e-4 * scale,
            "value {index}: {a} is not {e}"
        );
    }
}

/// That two vectors differ by far more than rounding does.
pub fn assert_apart(one: &[f32], other: &[f32]) {
    assert!(
        norm(&minus(one, other)) > 1e-2 * norm(other),
        "they are the same"
    );
}
