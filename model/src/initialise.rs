//! The first weights of a model.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::{Graph, Role};

/// Draws the first parameters: weights uniform on `(-b, b)` with `b = sqrt(6 / fan_in)` (He et al.
/// 2015, "Delving Deep into Rectifiers", eq. 10, as a uniform of the same variance), biases zero.
///
/// The uniform form needs only a square root, so the same seed gives the same bits on every
/// machine. Returns [`ParamLayout::len`](crate::ParamLayout::len) values.
pub fn initialise(graph: &Graph, seed: [u8; 32]) -> Vec<f32> {
    let mut rng = ChaCha20Rng::from_seed(seed);
    let mut params = vec![0.0; graph.layout().len()];
    for entry in &graph.layout().entries {
        if entry.role == Role::Bias {
            continue;
        }
        let fan_in = entry.len / entry.channels();
        let bound = (6.0 / fan_in as f32).sqrt();
        for value in &mut params[entry.range()] {
            *value = bound * (2.0 * unit_uniform(&mut rng) - 1.0);
        }
    }
    params
}

/// Uniform on `[0, 1)` in steps of 2^-24, all of which `f32` holds exactly.
fn unit_uniform(rng: &mut ChaCha20Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 / (1 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelSpec;

    #[test]
    fn weights_fill_their_range_and_biases_are_zero() {
        let graph = ModelSpec::perceptron("m", 150, &[32], 7).graph().unwrap();
        let params = initialise(&graph, [7; 32]);
        let weight = graph.layout().entry("0.dense.weight").unwrap();
        let bound = (6.0_f32 / 150.0).sqrt();
        let values = &params[weight.range()];
        let largest = values
            .iter()
            .fold(0.0_f32, |max, value| max.max(value.abs()));
        assert!(largest <= bound && largest > 0.99 * bound);
        // 4800 draws: six standard errors of the mean (false alarm below 1e-8; the seed is fixed)
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        assert!(mean.abs() < 6.0 * bound / (3.0 * 4800.0_f32).sqrt());
        let bias = graph.layout().entry("0.dense.bias").unwrap();
        assert!(params[bias.range()].iter().all(|&value| value == 0.0));
    }

    #[test]
    fn same_seed_gives_the_same_bits_and_another_seed_does_not() {
        let graph = ModelSpec::perceptron("m", 5, &[4], 3).graph().unwrap();
        assert_eq!(initialise(&graph, [1; 32]), initialise(&graph, [1; 32]));
        assert_ne!(initialise(&graph, [1; 32]), initialise(&graph, [2; 32]));
    }
}
