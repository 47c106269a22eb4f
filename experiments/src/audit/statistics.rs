//! Tests of a sample against a law that is known exactly, each as a p-value.
//!
//! A p-value is exact or an upper tail that is accurate where it is small; where it is large it may be
//! cut to 1. What rejects is always a small one.

use statrs::distribution::{ChiSquared, ContinuousCDF, Normal};

/// Standard normal distribution function.
pub(crate) fn normal_cdf(value: f64) -> f64 {
    // with mean 0 and deviation 1 there is nothing to refuse
    Normal::standard().cdf(value)
}

/// Quantile of the standard normal.
pub(crate) fn normal_quantile(probability: f64) -> f64 {
    Normal::standard().inverse_cdf(probability)
}

/// Two-sided p-value of a standard normal statistic.
pub(crate) fn normal_two_sided(statistic: f64) -> f64 {
    2.0 * Normal::standard().sf(statistic.abs())
}

/// Two-sided p-value of `sum` as a chi-square with so many degrees of freedom.
pub(crate) fn chi_square_two_sided(sum: f64, freedom: f64) -> f64 {
    let Ok(law) = ChiSquared::new(freedom) else {
        return 0.0;
    };
    // what is no number rejects; the law would refuse to take it
    if !(sum >= 0.0 && sum.is_finite()) {
        return 0.0;
    }
    (2.0 * law.cdf(sum).min(law.sf(sum))).min(1.0)
}

/// Mean of a sample.
pub(crate) fn mean(sample: &[f64]) -> f64 {
    sample.iter().sum::<f64>() / sample.len().max(1) as f64
}

/// Mean of squares: the variance where the mean is known to be zero.
pub(crate) fn mean_square(sample: &[f64]) -> f64 {
    sample.iter().map(|value| value * value).sum::<f64>() / sample.len().max(1) as f64
}

/// p-value that values of variance 1 have this mean square: n times it is a chi-square.
pub(crate) fn variance_p_value(sample: &[f64]) -> f64 {
    let count = sample.len() as f64;
    chi_square_two_sided(mean_square(sample) * count, count)
}

/// p-value that standard normal values have this mean.
pub(crate) fn mean_p_value(sample: &[f64]) -> f64 {
    normal_two_sided(mean(sample) * (sample.len() as f64).sqrt())
}

/// Anderson and Darling's A^2 of a sample against the standard normal, with its p-value.
///
/// Its limit law is that of sum chi_j^2 / (j (j + 1)) over squares of independent standard normals
/// (Anderson and Darling 1952); the tail of such a sum is that of its largest term times
/// prod_{j >= 2} (1 - 2 / (j (j + 1)))^{-1/2} = sqrt(3) (Zolotarev 1961), so
/// P[A^2 > a] is about sqrt(3 / (pi a)) e^-a. At a = 2.492, the tabulated 5 % point, this gives
/// 5.1 %, and it gets closer further out.
pub(crate) fn anderson_darling(sample: &[f64]) -> (f64, f64) {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    let law = Normal::standard();
    let ends = sorted.iter().zip(sorted.iter().rev());
    let terms = ends.enumerate().map(|(index, (low, high))| {
        let weight = (2 * index + 1) as f64;
        // far outside, the logarithm of zero would hide all else
        let below = law.cdf(*low).max(f64::MIN_POSITIVE);
        let above = law.sf(*high).max(f64::MIN_POSITIVE);
        weight * (below.ln() + above.ln())
    });
    let statistic = -(count as f64) - terms.sum::<f64>() / count.max(1) as f64;
    let tail = (3.0 / (std::f64::consts::PI * statistic)).sqrt() * (-statistic).exp();
    let p_value = if statistic > 0.5 { tail.min(1.0) } else { 1.0 };
    (statistic, p_value)
}

/// Counts of a sample in `bins` intervals that have equal probability under the standard normal.
pub(crate) fn equal_bins(sample: &[f64], bins: usize) -> Vec<u64> {
    let mut counts = vec![0; bins];
    for value in sample {
        let bin = (normal_cdf(*value) * bins as f64) as usize;
        counts[bin.min(bins - 1)] += 1;
    }
    counts
}

/// Pearson's chi-square of counts against equal probabilities, with its p-value. Both tails count:
/// a histogram that is too even is suspicious as well.
pub(crate) fn equal_bins_p_value(counts: &[u64]) -> (f64, f64) {
    let total: u64 = counts.iter().sum();
    let expected = total as f64 / counts.len().max(1) as f64;
    let squares = counts
        .iter()
        .map(|&count| (count as f64 - expected).powi(2));
    let statistic = squares.sum::<f64>() / expected;
    let freedom = counts.len().saturating_sub(1) as f64;
    (statistic, chi_square_two_sided(statistic, freedom))
}

/// Correlation of two samples of variance 1 times the root of their length: standard normal when they
/// are independent.
pub(crate) fn correlation(left: &[f64], right: &[f64]) -> f64 {
    let count = left.len().min(right.len()).max(1) as f64;
    let products = left.iter().zip(right).map(|(left, right)| left * right);
    products.sum::<f64>() / count.sqrt()
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng as _;

    use super::super::grid::unit;
    use super::*;

    fn sample(seed: u64, count: usize) -> Vec<f64> {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let value = |_| normal_quantile((unit(&mut rng) + 1e-17).min(1.0 - 1e-16));
        (0..count).map(value).collect()
    }

    #[test]
    fn the_tail_of_anderson_and_darling_is_that_of_the_tables() {
        // Anderson and Darling 1954, table 1: 10 %, 5 %, 1 %
        for (point, tail) in [(1.933, 0.10), (2.492, 0.05), (3.857, 0.01)] {
            let ours = (3.0 / (std::f64::consts::PI * point)).sqrt() * f64::exp(-point);
            assert!((ours / tail - 1.0).abs() < 0.06, "{ours} at {point}");
        }
    }

    #[test]
    fn small_p_values_come_as_often_as_they_say() {
        // 400 samples of 500 values: each test must reject at 5 % about 20 times, sd 4.4; outside
        // 0..=46 has probability below 1e-7, and the seeds are fixed
        let mut rejected = [0; 4];
        for seed in 0..400 {
            let values = sample(seed, 500);
            let p_values = [
                mean_p_value(&values),
                variance_p_value(&values),
                anderson_darling(&values).1,
                equal_bins_p_value(&equal_bins(&values, 16)).1,
            ];
            for (count, p_value) in rejected.iter_mut().zip(p_values) {
                *count += u32::from(p_value < 0.05);
            }
        }
        assert!(
            rejected.iter().all(|count| (5..=46).contains(count)),
            "{rejected:?}"
        );
    }

    #[test]
    fn every_test_sees_what_it_looks_for() {
        let values = sample(1, 40_000);
        let wider: Vec<f64> = values.iter().map(|value| 1.04 * value).collect();
        assert!(variance_p_value(&wider) < 1e-9 && variance_p_value(&values) > 1e-3);
        let moved: Vec<f64> = values.iter().map(|value| value + 0.05).collect();
        assert!(mean_p_value(&moved) < 1e-9 && mean_p_value(&values) > 1e-3);
        // uniform of the same variance: right moments, wrong law
        let uniform = values
            .iter()
            .map(|value| 12f64.sqrt() * (normal_cdf(*value) - 0.5));
        let uniform: Vec<f64> = uniform.collect();
        assert!(anderson_darling(&uniform).1 < 1e-9 && anderson_darling(&values).1 > 1e-3);
        let counts = equal_bins(&uniform, 64);
        assert!(equal_bins_p_value(&counts).1 < 1e-9);
        let neighbours: Vec<f64> = values.windows(2).map(|pair| pair[0] + pair[1]).collect();
        let scaled: Vec<f64> = neighbours.iter().map(|value| value / 2f64.sqrt()).collect();
        let echo = correlation(&scaled[1..], &scaled[..scaled.len() - 1]);
        assert!(normal_two_sided(echo) < 1e-9);
        let honest = correlation(&values[1..], &values[..values.len() - 1]);
        assert!(normal_two_sided(honest) > 1e-3);
    }
}
