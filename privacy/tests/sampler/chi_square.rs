//! Chi-square statistics and how large chance makes them.
//!
//! A chi-square variable with k degrees exceeds k + 2 sqrt(k u) + 2 u with probability at most e^-u
//! (Laurent and Massart 2000, lemma 1). Cells hold at least 20 expected values, for which counts are
//! near enough to normal.

use crate::Sampler;

/// e^-12 = 6e-6 per test and seed; the seeds are fixed.
pub const SEEDED: f64 = 12.0;
/// e^-23 = 1e-10 per test and run, where the other side can't be seeded.
pub const UNSEEDED: f64 = 23.0;

pub fn assert_plausible((statistic, degrees): (f64, usize), u: f64, what: &str) {
    assert!(degrees > 0, "{what}: too few cells");
    let k = degrees as f64;
    let limit = k + 2.0 * (k * u).sqrt() + 2.0 * u;
    assert!(
        statistic < limit,
        "{what}: chi-square {statistic} with {degrees} degrees"
    );
}

/// Of samples against the sampler's exact probabilities, in cells of `width` integers around 0.
pub fn against_exact(sampler: &Sampler, values: &[i64], width: i64) -> (f64, usize) {
    let reach = sampler.reach();
    let cell = |x: i64| (x.clamp(-reach, reach) + width / 2).div_euclid(width);
    let first = cell(-reach);
    let cells = (cell(reach) - first + 1) as usize;
    let total: f64 = (-reach..=reach).map(|x| sampler.weight(x)).sum();
    let (mut expected, mut found) = (vec![0.0; cells], vec![0.0; cells]);
    for x in -reach..=reach {
        expected[(cell(x) - first) as usize] += sampler.weight(x) / total * values.len() as f64;
    }
    for &x in values {
        found[(cell(x) - first) as usize] += 1.0;
    }
    pooled(&expected, &found)
}

/// With the cells that expect fewer than 20 pooled into one.
pub fn pooled(expected: &[f64], found: &[f64]) -> (f64, usize) {
    let (mut statistic, mut kept) = (0.0, 0usize);
    let (mut rare_expected, mut rare_found) = (0.0, 0.0);
    for (&e, &f) in expected.iter().zip(found) {
        if e >= 20.0 {
            statistic += (f - e) * (f - e) / e;
            kept += 1;
        } else {
            rare_expected += e;
            rare_found += f;
        }
    }
    if rare_expected >= 20.0 {
        statistic += (rare_found - rare_expected).powi(2) / rare_expected;
        kept += 1;
    } else {
        // too rare for chi-square; a Poisson count of mean m <= 20 passes m + 8 sqrt(m) + 8 with a
        // chance below 1e-6
        assert!(
            rare_found <= rare_expected + 8.0 * rare_expected.sqrt() + 8.0,
            "{rare_found} values where {rare_expected} are expected"
        );
    }
    (statistic, kept.saturating_sub(1))
}

/// Of two samples against each other, in cells of `width` integers around 0.
pub fn two_samples(left: &[i64], right: &[i64], width: i64) -> (f64, usize) {
    let cell = |x: i64| ((x + width / 2).div_euclid(width) + 100).clamp(0, 200) as usize;
    let count = |values: &[i64]| {
        let mut cells = vec![0.0; 201];
        values.iter().for_each(|&x| cells[cell(x)] += 1.0);
        cells
    };
    let (n, m) = (left.len() as f64, right.len() as f64);
    // cells where the smaller sample may hold less than 20 go into one
    let least = 20.0 * (n + m) / n.min(m);
    let part = |a: f64, b: f64| (a * (m / n).sqrt() - b * (n / m).sqrt()).powi(2) / (a + b);
    let (mut statistic, mut kept) = (0.0, 0usize);
    let (mut rare_left, mut rare_right) = (0.0, 0.0);
    for (&a, &b) in count(left).iter().zip(&count(right)) {
        if a + b >= least {
            statistic += part(a, b);
            kept += 1;
        } else {
            rare_left += a;
            rare_right += b;
        }
    }
    if rare_left + rare_right >= least {
        statistic += part(rare_left, rare_right);
        kept += 1;
    }
    (statistic, kept.saturating_sub(1))
}

/// Of pairs of cell numbers below `cells`, all pairs being equally likely.
pub fn of_even_pairs(pairs: impl Iterator<Item = (usize, usize)>, cells: usize) -> (f64, usize) {
    let mut found = vec![0.0; cells * cells];
    pairs.for_each(|(a, b)| found[a * cells + b] += 1.0);
    let expected = found.iter().sum::<f64>() / found.len() as f64;
    pooled(&vec![expected; found.len()], &found)
}
