//! Both Gaussian samplers against exact probabilities, signs and moments.

use tributary_privacy::{DiscreteGaussian, NoiseError, NoiseSource};

use crate::Sampler;
use crate::chi_square::{SEEDED, against_exact, assert_plausible, two_samples};

const DRAWS: usize = 400_000;

#[test]
fn the_exact_sampler_follows_its_probabilities_at_every_scale() {
    let scales = [
        (3, 10, 1),
        (1, 2, 1),
        (1, 1, 1),
        (3, 2, 1),
        (27, 10, 1),
        (63, 10, 1),
        (10, 1, 1),
        (40, 1, 3),
        (601, 2, 15),
        (4_096, 1, 205),
        (1_048_575, 210, 250),
        (65_536, 1, 3_277),
    ];
    for (index, (p, q, width)) in scales.into_iter().enumerate() {
        let sampler = Sampler::gaussian(p, q);
        let values = sampler.samples(DRAWS, index as u8 + 1);
        let statistic = against_exact(&sampler, &values, width);
        assert_plausible(statistic, SEEDED, &sampler.name());
    }
}

/// Scales at, just above and between the multiples of its 16 bins per sigma, and cells of one integer
/// where that is possible, to see steps between bins.
#[test]
fn the_table_follows_the_same_probabilities() {
    let scales = [
        (64, 1),
        (65, 1),
        (79, 2),
        (300, 5),
        (301, 15),
        (4_096, 16),
        (4_095, 205),
        (65_536, 3_277),
    ];
    for (index, (sigma, width)) in scales.into_iter().enumerate() {
        let sampler = Sampler::table(sigma);
        let values = sampler.samples(2 * DRAWS, index as u8 + 21);
        let statistic = against_exact(&sampler, &values, width);
        assert_plausible(statistic, SEEDED, &sampler.name());
    }
}

#[test]
fn the_table_draws_what_the_exact_sampler_draws() {
    for (index, sigma) in [64u64, 1_000, (1 << 20) + 3, 1 << 40]
        .into_iter()
        .enumerate()
    {
        let (exact, table) = (Sampler::gaussian(sigma, 1), Sampler::table(sigma));
        let seed = 31 + 2 * index as u8;
        let exact = exact.samples(DRAWS, seed);
        // cells that no multiple of the table's bins falls on
        let statistic = two_samples(
            &exact,
            &table.samples(2 * DRAWS, seed + 1),
            (sigma / 21) as i64,
        );
        assert_plausible(statistic, SEEDED, &format!("exact and {}", table.name()));
    }
}

/// Six standard errors for each of 4 moments at 12 scales: a false alarm below 1e-7 over seeds.
#[test]
fn moments_are_those_of_the_distribution() {
    let samplers = [
        Sampler::gaussian(1, 2),
        Sampler::gaussian(27, 10),
        Sampler::gaussian(10, 1),
        Sampler::gaussian(601, 2),
        Sampler::gaussian(65_536, 1),
        Sampler::gaussian(1 << 20, 1),
        Sampler::gaussian(1 << 33, 1),
        Sampler::table(64),
        Sampler::table(301),
        Sampler::table(65_536),
        Sampler::table(1 << 20),
        Sampler::table(1 << 40),
    ];
    for (index, sampler) in samplers.iter().enumerate() {
        let values = sampler.samples(DRAWS, 40 + index as u8);
        for power in 1..=4 {
            let found = values
                .iter()
                .map(|&x| (x as f64 / sampler.scale()).powi(power));
            let found = found.sum::<f64>() / DRAWS as f64;
            let mean = moment(sampler, power);
            // the standard error of a mean of z^k is sqrt((E z^2k - (E z^k)^2) / n)
            let spread = moment(sampler, 2 * power) - mean * mean;
            let error = (found - mean).abs();
            assert!(
                error <= 6.0 * (spread / DRAWS as f64).sqrt(),
                "moment {power} of {}: {found} for {mean}",
                sampler.name()
            );
        }
    }
}

/// E (x / sigma)^power: summed for small scales; above, where the sum over the grid differs from the
/// integral by less than e^(-2 pi^2 sigma^2), that of the normal distribution.
fn moment(sampler: &Sampler, power: i32) -> f64 {
    let sigma = sampler.scale();
    if sigma > 100.0 {
        // 1, 3, 15, 105 for even powers
        let odd = (1..power).step_by(2).map(f64::from).product();
        return if power % 2 == 0 { odd } else { 0.0 };
    }
    let reach = sampler.reach();
    let total: f64 = (-reach..=reach).map(|x| sampler.weight(x)).sum();
    let powers = (-reach..=reach).map(|x| (x as f64 / sigma).powi(power) * sampler.weight(x));
    powers.sum::<f64>() / total
}

#[test]
fn both_signs_are_equally_likely_at_every_distance() {
    let samplers = [
        Sampler::gaussian(1, 2),
        Sampler::gaussian(2, 1),
        Sampler::gaussian(9, 1),
        Sampler::table(64),
        Sampler::laplace(7, 2),
    ];
    for (index, sampler) in samplers.iter().enumerate() {
        let values = sampler.samples(DRAWS, 71 + index as u8);
        let (mut statistic, mut degrees) = (0.0, 0);
        for distance in 1..200 {
            let above = values.iter().filter(|&&x| x == distance).count() as f64;
            let below = values.iter().filter(|&&x| x == -distance).count() as f64;
            if above + below >= 40.0 {
                statistic += (above - below).powi(2) / (above + below);
                degrees += 1;
            }
        }
        let what = format!("symmetry of the {}", sampler.name());
        assert_plausible((statistic, degrees), SEEDED, &what);
    }
}

#[test]
fn noise_at_the_edge_of_the_integers_saturates() {
    for sampler in [
        Sampler::gaussian(1 << 40, 1),
        Sampler::table(1 << 40),
        Sampler::laplace(1 << 40, 1),
    ] {
        let mut values = vec![i64::MAX; 50];
        sampler.add_noise(&mut values, &mut NoiseSource::seeded([7; 32]));
        assert!(values.iter().all(|&value| value > i64::MAX - (1 << 46)));
        assert!(values.contains(&i64::MAX));
    }
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
        (3, (1 << 20) + 1),
    ] {
        let refused = DiscreteGaussian::from_ratio(p, q);
        assert!(
            matches!(refused, Err(NoiseError::BadSigma { .. })),
            "{p}/{q}"
        );
    }
    for bad in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY, 1e13] {
        let text = DiscreteGaussian::at_least(bad).unwrap_err().to_string();
        assert!(text.contains("sigma") && text.contains("above 0"), "{text}");
    }
    // lowest terms decide
    assert_eq!(
        DiscreteGaussian::from_ratio(1 << 50, 1 << 20),
        DiscreteGaussian::new(1 << 30)
    );
    assert!(DiscreteGaussian::from_ratio((1 << 20) - 1, 1 << 20).is_ok());
}
