//! Draws that the partitioners need, on top of raw ChaCha20 words.

use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

/// A whole number in `0..bound`, without bias (rejection). `bound` 0 gives 0.
pub(super) fn below(rng: &mut ChaCha20Rng, bound: usize) -> usize {
    let bound = bound as u64;
    if bound < 2 {
        return 0;
    }
    let unbiased = u64::MAX - u64::MAX % bound;
    loop {
        let word = rng.next_u64();
        if word < unbiased {
            return (word % bound) as usize;
        }
    }
}

/// A uniform number in the open interval (0, 1), with 53 random bits.
pub(super) fn unit(rng: &mut ChaCha20Rng) -> f64 {
    ((rng.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

/// Shuffles the first `count` places (Fisher-Yates): they become a uniform draw without replacement.
pub(crate) fn shuffle_front(rng: &mut ChaCha20Rng, items: &mut [usize], count: usize) {
    for place in 0..count.min(items.len()) {
        let other = place + below(rng, items.len() - place);
        items.swap(place, other);
    }
}

/// A standard normal number (Box and Muller 1958).
fn normal(rng: &mut ChaCha20Rng) -> f64 {
    let radius = (-2.0 * unit(rng).ln()).sqrt();
    radius * (std::f64::consts::TAU * unit(rng)).cos()
}

/// The logarithm of a Gamma(shape, 1) number, `shape` > 0.
///
/// Marsaglia and Tsang, "A simple method for generating gamma variables" (2000); shapes below 1 through
/// Gamma(shape + 1) * U^(1/shape). The logarithm keeps tiny shapes from underflowing to zero.
pub(super) fn log_gamma_variate(rng: &mut ChaCha20Rng, shape: f64) -> f64 {
    if shape < 1.0 {
        return log_gamma_variate(rng, shape + 1.0) + unit(rng).ln() / shape;
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(rng);
        let cube = (1.0 + c * x).powi(3);
        if cube > 0.0 && unit(rng).ln() < 0.5 * x * x + d - d * cube + d * cube.ln() {
            return d.ln() + cube.ln();
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn gamma_draws_have_the_right_mean() {
        // 20,000 draws: the mean of Gamma(k) has deviation sqrt(k / n); six of them leave a false
        // alarm of 2e-9, and the seed is fixed
        for shape in [0.1, 0.7, 1.0, 5.0, 100.0] {
            let mut rng = ChaCha20Rng::from_seed([7; 32]);
            let n = 20_000;
            let sum: f64 = (0..n)
                .map(|_| log_gamma_variate(&mut rng, shape).exp())
                .sum();
            let error = (sum / f64::from(n) - shape).abs();
            assert!(
                error < 6.0 * (shape / f64::from(n)).sqrt(),
                "shape {shape}: off by {error}"
            );
        }
    }

    #[test]
    fn bounded_draws_reach_every_value_and_none_beyond() {
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        let mut seen = [0u32; 7];
        (0..7000).for_each(|_| seen[below(&mut rng, 7)] += 1);
        // each count is binomial with deviation 29.3: six of them
        assert!(
            seen.iter().all(|&count| (824..1176).contains(&count)),
            "{seen:?}"
        );
        assert_eq!(below(&mut rng, 0), 0);
    }
}
