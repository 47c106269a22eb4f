//! The distribution of the discrete Gaussian, tested on samples.
//!
//! Seeds are fixed for our sampler. A chi-square statistic with k degrees is compared with
//! k + 5 sqrt(2 k) + 13, which chance exceeds with probability below 1e-5 for k from 1 to 200.

use opendp::core::Measurement;
use opendp::domains::{AtomDomain, VectorDomain};
use opendp::measurements::make_gaussian;
use opendp::measures::ZeroConcentratedDivergence;
use opendp::metrics::L2Distance;
use tributary_aggregator::{DiscreteGaussian, NoiseSource};

fn samples(gaussian: &DiscreteGaussian, count: usize, seed: u8) -> Vec<i64> {
    let mut values = vec![0; count];
    gaussian.add_noise(&mut values, &mut NoiseSource::seeded([seed; 32]));
    values
}

fn assert_plausible(statistic: f64, degrees: usize, what: &str) {
    let limit = degrees as f64 + 5.0 * (2.0 * degrees as f64).sqrt() + 13.0;
    assert!(
        statistic < limit,
        "{what}: chi-square {statistic} with {degrees} degrees"
    );
}

/// Chi-square of samples against e^(-x^2 / (2 sigma^2)), cells of `width` integers around 0, cells
/// with an expectation below 20 pooled into the two tails.
fn chi_square_against_exact(values: &[i64], sigma: f64, width: i64) -> (f64, usize) {
    let reach = (12.0 * sigma).ceil() as i64 + 1;
    let weight = |x: i64| (-(x as f64 / sigma).powi(2) / 2.0).exp();
    let total: f64 = (-reach..=reach).map(weight).sum();
    let cell = |x: i64| (x + width / 2).div_euclid(width);
    let (first, last) = (cell(-reach), cell(reach));
    let cells = (last - first + 1) as usize;
    let (mut expected, mut found) = (vec![0.0; cells], vec![0.0; cells]);
    for x in -reach..=reach {
        expected[(cell(x) - first) as usize] += weight(x) / total * values.len() as f64;
    }
    for &x in values {
        found[(cell(x.clamp(-reach, reach)) - first) as usize] += 1.0;
    }
    pooled_statistic(&expected, &found)
}

fn pooled_statistic(expected: &[f64], found: &[f64]) -> (f64, usize) {
    let (mut statistic, mut kept) = (0.0, 0);
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
    if rare_expected >= 5.0 {
        statistic += (rare_found - rare_expected).powi(2) / rare_expected;
        kept += 1;
    } else {
        // cells too rare to test by chi-square hold next to nothing
        assert!(rare_found <= rare_expected + 5.0 * rare_expected.sqrt() + 3.0);
    }
    (statistic, kept - 1)
}

#[test]
fn small_scales_follow_the_exact_probabilities() {
    for (index, (p, q)) in [
        (3, 10),
        (1, 2),
        (1, 1),
        (3, 2),
        (2, 1),
        (63, 10),
        (10, 1),
        (40, 1),
    ]
    .into_iter()
    .enumerate()
    {
        let gaussian = DiscreteGaussian::from_ratio(p, q).unwrap();
        let values = samples(&gaussian, 400_000, index as u8 + 1);
        let width = if gaussian.sigma() > 20.0 { 3 } else { 1 };
        let (statistic, degrees) = chi_square_against_exact(&values, gaussian.sigma(), width);
        assert_plausible(statistic, degrees, &format!("sigma {p}/{q}"));
    }
}

#[test]
fn a_scale_of_thousands_follows_the_exact_probabilities() {
    for (p, q, seed) in [(5_000, 1, 31), (1_048_575, 210, 32)] {
        let gaussian = DiscreteGaussian::from_ratio(p, q).unwrap();
        let values = samples(&gaussian, 400_000, seed);
        let (statistic, degrees) = chi_square_against_exact(&values, gaussian.sigma(), 250);
        assert_plausible(statistic, degrees, &format!("sigma {p}/{q}"));
    }
}

/// Standard normal distribution function, for scales at which the grid is far below the cells.
fn normal_below(x: f64) -> f64 {
    0.5 * statrs::function::erf::erfc(-x / std::f64::consts::SQRT_2)
}

#[test]
fn large_scales_up_to_the_limit_follow_the_normal_shape_in_high_and_low_digits() {
    for (shift, seed) in [
        (20, 41),
        (22, 42),
        (23, 43),
        (29, 44),
        (32, 45),
        (36, 46),
        (40, 47),
    ] {
        let sigma = (1u64 << shift) - u64::from(shift % 2 == 0 && shift < 40) * 3;
        let gaussian = DiscreteGaussian::new(sigma).unwrap();
        let values = samples(&gaussian, 200_000, seed);
        // 64 cells between -4 and 4 sigma; sampling on integers shifts a cell by at most
        // 1 / sigma < 1e-6 of its mass, far below what 200,000 samples can see
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
        for &x in &values {
            let cell = (x as f64 / sigma as f64 * 8.0 + 33.0)
                .floor()
                .clamp(0.0, 65.0);
            found[cell as usize] += 1.0;
        }
        let (statistic, degrees) = pooled_statistic(&expected, &found);
        assert_plausible(statistic, degrees, &format!("shape at sigma 2^{shift}"));
        // at these scales the remainders by a small prime are uniform
        let mut remainders = vec![0.0; 13];
        values
            .iter()
            .for_each(|x| remainders[x.rem_euclid(13) as usize] += 1.0);
        let even = vec![values.len() as f64 / 13.0; 13];
        let (statistic, degrees) = pooled_statistic(&even, &remainders);
        assert_plausible(
            statistic,
            degrees,
            &format!("remainders at sigma 2^{shift}"),
        );
    }
}

#[test]
fn moments_are_those_of_the_gaussian() {
    // six standard errors for each of 4 moments at 7 scales: a false alarm below 1e-7
    for (index, sigma) in [3u64, 10, 1000, 65_536, 1 << 20, 1 << 23, 1 << 33]
        .into_iter()
        .enumerate()
    {
        let n = 400_000;
        let values = samples(&DiscreteGaussian::new(sigma).unwrap(), n, 60 + index as u8);
        let moment = |power: i32| {
            let scaled = values
                .iter()
                .map(|&x| (x as f64 / sigma as f64).powi(power));
            scaled.sum::<f64>() / n as f64
        };
        // the standard error of a mean of z^k is sqrt((E z^2k - (E z^k)^2) / n)
        let root = (n as f64).sqrt();
        for (power, mean, spread) in [
            (1, 0.0, 1.0f64),
            (2, 1.0, 2.0),
            (3, 0.0, 15.0),
            (4, 3.0, 96.0),
        ] {
            let error = moment(power) - mean;
            assert!(
                error.abs() <= 6.0 * spread.sqrt() / root,
                "moment {power} at {sigma}: {error}"
            );
        }
    }
}

#[test]
fn both_signs_are_equally_likely_at_every_distance() {
    for (p, q, seed) in [(1, 2, 71), (2, 1, 72), (9, 1, 73)] {
        let values = samples(&DiscreteGaussian::from_ratio(p, q).unwrap(), 400_000, seed);
        let (mut statistic, mut degrees) = (0.0, 0);
        for distance in 1..60 {
            let above = values.iter().filter(|&&x| x == distance).count() as f64;
            let below = values.iter().filter(|&&x| x == -distance).count() as f64;
            if above + below >= 40.0 {
                statistic += (above - below).powi(2) / (above + below);
                degrees += 1;
            }
        }
        assert!(degrees > 0);
        assert_plausible(statistic, degrees, &format!("symmetry at sigma {p}/{q}"));
    }
}

/// The peer's generator can't be seeded. The false-alarm rate is below 1e-5 per run.
#[test]
fn samples_look_like_those_of_opendp() {
    for (sigma, width, count) in [(3u64, 1i64, 20_000usize), (1 << 21, 1 << 18, 20_000)] {
        let ours = samples(&DiscreteGaussian::new(sigma).unwrap(), 20 * count, 81);
        let peer: Measurement<_, _, ZeroConcentratedDivergence, Vec<i64>> = make_gaussian(
            VectorDomain::new(AtomDomain::<i64>::default()).with_size(count),
            L2Distance::<f64>::default(),
            sigma as f64,
            None,
        )
        .unwrap();
        let theirs = peer.invoke(&vec![0i64; count]).unwrap();
        let cell = |x: i64| ((x + width / 2).div_euclid(width) + 100).clamp(0, 200) as usize;
        let count_cells = |values: &[i64]| {
            let mut cells = vec![0.0; 201];
            values.iter().for_each(|&x| cells[cell(x)] += 1.0);
            cells
        };
        let (left, right) = (count_cells(&ours), count_cells(&theirs));
        // two-sample chi-square over cells that hold enough of the smaller sample
        let (n, m) = (ours.len() as f64, theirs.len() as f64);
        let (mut statistic, mut kept) = (0.0, 0usize);
        for (a, b) in left.iter().zip(&right) {
            if a + b >= 400.0 {
                statistic += (a * (m / n).sqrt() - b * (n / m).sqrt()).powi(2) / (a + b);
                kept += 1;
            }
        }
        assert!(kept > 10);
        assert_plausible(
            statistic,
            kept - 1,
            &format!("two samples at sigma {sigma}"),
        );
    }
}

#[test]
fn equal_seeds_give_equal_noise_and_every_chunk_its_own() {
    let gaussian = DiscreteGaussian::new(1 << 21).unwrap();
    let first = samples(&gaussian, 200_000, 91);
    assert_eq!(first, samples(&gaussian, 200_000, 91));
    assert_ne!(first[..1000], samples(&gaussian, 1000, 92)[..]);
    assert_ne!(
        first[..1000],
        first[NoiseSource::CHUNK..NoiseSource::CHUNK + 1000]
    );
}

#[test]
fn noise_at_the_edge_of_the_integers_saturates() {
    let gaussian = DiscreteGaussian::new(1 << 40).unwrap();
    let mut values = vec![i64::MAX; 50];
    gaussian.add_noise(&mut values, &mut NoiseSource::seeded([7; 32]));
    assert!(values.iter().all(|&value| value > i64::MAX - (1 << 45)));
    assert!(values.contains(&i64::MAX));
}

#[test]
fn scales_outside_exact_arithmetic_are_refused() {
    for (p, q) in [
        (0, 1),
        (1, 0),
        (0, 0),
        ((1 << 40) + 1, 1),
        (u64::MAX, 1),
        (u64::MAX, 2),
    ] {
        assert!(DiscreteGaussian::from_ratio(p, q).is_err(), "{p}/{q}");
    }
    assert!(DiscreteGaussian::from_ratio(3, (1 << 20) + 1).is_err());
    // lowest terms decide
    assert_eq!(
        DiscreteGaussian::from_ratio(1 << 50, 1 << 20),
        DiscreteGaussian::new(1 << 30)
    );
    assert!(DiscreteGaussian::from_ratio((1 << 20) - 1, 1 << 20).is_ok());
}
