//! The discrete Laplace distribution.

use tributary_privacy::NoiseSource;

use crate::Sampler;
use crate::chi_square::{SEEDED, against_exact, assert_plausible};

#[test]
fn the_laplace_sampler_follows_its_probabilities() {
    let scales = [
        (1, 5, 1),
        (1, 2, 1),
        (1, 1, 1),
        (7, 2, 1),
        (10, 1, 1),
        (601, 2, 10),
        (4_096, 1, 205),
    ];
    for (index, (p, q, width)) in scales.into_iter().enumerate() {
        let sampler = Sampler::laplace(p, q);
        let values = sampler.samples(400_000, 180 + index as u8);
        let statistic = against_exact(&sampler, &values, width);
        assert_plausible(statistic, SEEDED, &sampler.name());
    }
}

/// Mean 0 and variance 2 e^(1/b) / (e^(1/b) - 1)^2, within six standard errors: those of the mean are
/// known, those of the variance taken from the samples' fourth moment. A false alarm below 1e-7 over
/// seeds.
#[test]
fn mean_and_variance_are_those_of_the_laplace_distribution() {
    let draws = 400_000;
    for (index, (p, q)) in [(1, 2), (7, 2), (300, 1), (1 << 40, 1)]
        .into_iter()
        .enumerate()
    {
        let sampler = Sampler::laplace(p, q);
        let b = sampler.scale();
        let growth = (1.0 / b).exp_m1();
        // over b^2
        let variance = 2.0 * (growth + 1.0) / (growth * growth) / (b * b);
        let mut values = vec![0; draws];
        sampler.add_noise(
            &mut values,
            &mut NoiseSource::seeded([190 + index as u8; 32]),
        );
        let mean_of = |power: i32| {
            let powers = values.iter().map(|&x| (x as f64 / b).powi(power));
            powers.sum::<f64>() / draws as f64
        };
        let (mean, second, fourth) = (mean_of(1), mean_of(2), mean_of(4));
        assert!(mean.abs() <= 6.0 * (variance / draws as f64).sqrt());
        let error = ((fourth - second * second) / draws as f64).sqrt();
        assert!(
            (second - variance).abs() <= 6.0 * error,
            "{second} for {variance}"
        );
    }
}
