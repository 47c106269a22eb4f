//! A loss whose every step can be worked by hand.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tributary_model::{Batch, Engine, Graph, LocalTraining, ModelError, ModelSpec};

/// f(w) = mean over the examples x of 1/2 sum_j a_j (w_j - x_j)^2, with two parameters. The model
/// crate asks for a graph; only its number of features is used.
pub struct Quadratic {
    graph: Graph,
    curvature: [f32; 2],
}

impl Quadratic {
    pub fn new(curvature: [f32; 2]) -> Self {
        let graph = ModelSpec::perceptron("quadratic", 2, &[], 2).graph();
        Self {
            graph: graph.unwrap(),
            curvature,
        }
    }
}

impl Engine for Quadratic {
    fn graph(&self) -> &Graph {
        &self.graph
    }

    fn gradient(
        &mut self,
        params: &[f32],
        batch: Batch<'_>,
        gradient: &mut [f32],
    ) -> Result<f32, ModelError> {
        gradient.fill(0.0);
        let mut loss = 0.0;
        let n = batch.len() as f32;
        for target in batch.inputs.chunks(2) {
            for j in 0..2 {
                let apart = params[j] - target[j];
                gradient[j] += self.curvature[j] * apart / n;
                loss += 0.5 * self.curvature[j] * apart * apart / n;
            }
        }
        Ok(loss)
    }

    fn predict(&mut self, _: &[f32], _: &[f32], _: &mut Vec<f32>) -> Result<(), ModelError> {
        Ok(())
    }

    fn step(
        &mut self,
        params: &mut [f32],
        batch: Batch<'_>,
        learning_rate: f32,
    ) -> Result<f32, ModelError> {
        let mut gradient = [0.0; 2];
        let loss = self.gradient(params, batch, &mut gradient)?;
        for (param, gradient) in params.iter_mut().zip(gradient) {
            *param -= learning_rate * gradient;
        }
        Ok(loss)
    }
}

/// The device of the worked examples: curvatures 1 and 2, minimum at (3, -1), start at (1, 1).
pub const TARGET: [f32; 2] = [3.0, -1.0];
pub const START: [f32; 2] = [1.0, 1.0];

pub fn engine() -> Quadratic {
    Quadratic::new([1.0, 2.0])
}

/// One example per device: every step is a full-batch step.
pub fn one(target: &[f32; 2]) -> Batch<'_> {
    Batch {
        inputs: target,
        labels: &[0],
    }
}

pub fn steps(count: u32, learning_rate: f32) -> LocalTraining {
    LocalTraining {
        epochs: count,
        batch_size: 1,
        learning_rate,
        max_steps: 0,
    }
}

pub fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([1; 32])
}

pub fn minus(after: &[f32], before: &[f32]) -> Vec<f32> {
    after.iter().zip(before).map(|(a, b)| a - b).collect()
}

pub fn assert_near(actual: &[f32], expected: &[f32]) {
    let near = |(a, e): (&f32, &f32)| (a - e).abs() <= 1e-5 * (1.0 + e.abs());
    assert_eq!(actual.len(), expected.len());
    assert!(
        actual.iter().zip(expected).all(near),
        "{actual:?} is not {expected:?}"
    );
}
