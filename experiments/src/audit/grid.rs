//! Payloads that lie on the integer grid, so that their exact sum is known without the aggregator.
//!
//! With a clip C that is a power of two, k C / S is an `f32` without rounding for every integer k up to
//! 2^24, and the coordinator's integer for it is k.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use tributary_privacy::SCALE;

use crate::runner::derived_seed;

/// Steps of the grid as values of a payload.
pub(crate) fn values_of(steps: &[i32], clip: f32) -> Vec<f32> {
    let step = f64::from(clip) / SCALE as f64;
    let value = |steps: &i32| (f64::from(*steps) * step) as f32;
    steps.iter().map(value).collect()
}

/// Steps that a device sends in a round: uniform and independent, with an L2 norm of about `share` of
/// the clip.
pub(crate) fn honest_steps(
    seed: u64,
    device: usize,
    round: u32,
    dimension: usize,
    share: f64,
) -> Vec<i32> {
    let purpose = format!("audit delta {device} {round}");
    let mut rng = ChaCha20Rng::from_seed(derived_seed(seed, &purpose));
    // uniform on [-a, a] has variance a^2 / 3
    let half = share * SCALE as f64 * (3.0 / dimension as f64).sqrt();
    let step = |_| (half * (2.0 * unit(&mut rng) - 1.0)).round() as i32;
    (0..dimension).map(step).collect()
}

/// Steps whose squares sum to exactly `squared_norm`, the largest first; every natural number is a sum
/// of four squares, and taking the largest each time needs only a few more.
pub(crate) fn steps_of_squared_norm(squared_norm: u64, dimension: usize) -> Vec<i32> {
    let mut steps = vec![0; dimension];
    let mut left = squared_norm;
    for step in &mut steps {
        let root = left.isqrt();
        *step = root as i32;
        left -= root * root;
    }
    steps
}

/// Uniform in [0, 1), 53 bits.
pub(crate) fn unit(rng: &mut ChaCha20Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_on_the_grid_are_exact() {
        for steps in [1, -1, 1_048_576, (1 << 24) - 1, -12_345_677] {
            let value = values_of(&[steps], 0.5)[0];
            assert_eq!(f64::from(value) * SCALE as f64 / 0.5, f64::from(steps));
        }
    }

    #[test]
    fn steps_have_exactly_the_norm_that_was_asked_for() {
        for squared in [1u64, 7, 1 << 40, (1 << 40) + 163_999_991, 1_099_675_598_916] {
            let steps = steps_of_squared_norm(squared, 12);
            let sum: i64 = steps.iter().map(|&step| i64::from(step).pow(2)).sum();
            assert_eq!(sum as u64, squared);
        }
    }

    #[test]
    fn honest_steps_have_about_the_norm_that_was_asked_for() {
        let steps = honest_steps(3, 1, 2, 4000, 0.9);
        let norm = steps
            .iter()
            .map(|&step| f64::from(step).powi(2))
            .sum::<f64>();
        assert!((norm.sqrt() / SCALE as f64 - 0.9).abs() < 0.05);
        assert_ne!(steps, honest_steps(3, 1, 3, 4000, 0.9));
    }
}
