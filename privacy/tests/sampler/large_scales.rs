//! Scales too large for a sum over all integers: the normal shape in the high digits, evenness in the
//! low ones.

use statrs::function::erf::erfc;

use crate::Sampler;
use crate::chi_square::{SEEDED, assert_plausible, pooled};

/// Standard normal distribution function.
fn normal_below(x: f64) -> f64 {
    0.5 * erfc(-x / std::f64::consts::SQRT_2)
}

/// 64 cells between -4 and 4 sigma and the two tails. Sampling on integers shifts a cell by at most
/// 1 / sigma < 1e-6 of its mass, far below what 200,000 samples can see.
fn assert_shape(sampler: &Sampler, values: &[i64]) {
    let mut expected = Vec::new();
    let mut found = vec![0.0; 66];
    for cell in 0..66 {
        let edge = |n: i32| match n {
            0 => 0.0,
            66 => 1.0,
            n => normal_below(f64::from(n - 33) / 8.0),
        };
        expected.push((edge(cell + 1) - edge(cell)) * values.len() as f64);
    }
    for &x in values {
        let cell = (x as f64 / sampler.scale() * 8.0 + 33.0).floor();
        found[cell.clamp(0.0, 65.0) as usize] += 1.0;
    }
    let what = format!("shape of the {}", sampler.name());
    assert_plausible(pooled(&expected, &found), SEEDED, &what);
}

/// At these scales the remainders by a small prime are uniform.
fn assert_even_remainders(sampler: &Sampler, values: &[i64]) {
    let mut remainders = vec![0.0; 13];
    for x in values {
        remainders[x.rem_euclid(13) as usize] += 1.0;
    }
    let even = vec![values.len() as f64 / 13.0; 13];
    let what = format!("remainders of the {}", sampler.name());
    assert_plausible(pooled(&even, &remainders), SEEDED, &what);
}

#[test]
fn shape_and_remainders_are_right_up_to_the_largest_scale() {
    for (shift, seed) in [
        (20, 141),
        (22, 142),
        (23, 143),
        (29, 144),
        (32, 145),
        (36, 146),
        (40, 147),
    ] {
        let sigma = (1u64 << shift) - u64::from(shift % 2 == 0 && shift < 40) * 3;
        for sampler in [Sampler::gaussian(sigma, 1), Sampler::table(sigma)] {
            let values = sampler.samples(200_000, seed);
            assert_shape(&sampler, &values);
            assert_even_remainders(&sampler, &values);
        }
    }
}
