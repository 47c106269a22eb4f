//! Values say nothing about their neighbours, nor about the same place of another chunk.

use tributary_privacy::NoiseSource;

use crate::Sampler;
use crate::chi_square::{SEEDED, assert_plausible, of_even_pairs};

/// The octiles of the standard normal distribution.
const OCTILES: [f64; 7] = [
    -1.150_349, -0.674_490, -0.318_639, 0.0, 0.318_639, 0.674_490, 1.150_349,
];

fn octile(x: i64, sigma: f64) -> usize {
    // half a grid step keeps zero out of the comparison
    let z = (x as f64 + 0.5) / sigma;
    OCTILES.iter().filter(|&&edge| z > edge).count()
}

#[test]
fn pairs_of_octiles_are_all_equally_likely() {
    for (sampler, seed) in [
        (Sampler::gaussian(1 << 20, 1), 201),
        (Sampler::table(1 << 20), 202),
    ] {
        let sigma = sampler.scale();
        let values = sampler.samples(8 * NoiseSource::CHUNK, seed);
        let octiles: Vec<usize> = values.iter().map(|&x| octile(x, sigma)).collect();
        for distance in [1, 2, 3, 16] {
            // pairs that share no value, so that they are independent of each other
            let pairs = octiles
                .chunks_exact(2 * distance)
                .flat_map(|block| block[..distance].iter().zip(&block[distance..]));
            let statistic = of_even_pairs(pairs.map(|(&a, &b)| (a, b)), 8);
            let what = format!("neighbours {distance} apart of the {}", sampler.name());
            assert_plausible(statistic, SEEDED, &what);
        }
        let pairs = octiles
            .chunks_exact(2 * NoiseSource::CHUNK)
            .flat_map(|pair| {
                pair[..NoiseSource::CHUNK]
                    .iter()
                    .zip(&pair[NoiseSource::CHUNK..])
            });
        let statistic = of_even_pairs(pairs.map(|(&a, &b)| (a, b)), 8);
        assert_plausible(
            statistic,
            SEEDED,
            &format!("chunks of the {}", sampler.name()),
        );
    }
}

/// Five standard errors of a product of independent values: 6e-7 per check over seeds.
#[test]
fn neighbours_and_chunks_are_uncorrelated() {
    for (sampler, seed) in [
        (Sampler::gaussian(1 << 20, 1), 203),
        (Sampler::table(1 << 20), 204),
        (Sampler::gaussian(1, 2), 205),
    ] {
        let values = sampler.samples(8 * NoiseSource::CHUNK, seed);
        let spread = values.iter().map(|&x| (x as f64).powi(2)).sum::<f64>() / values.len() as f64;
        for distance in [1, 2, NoiseSource::CHUNK] {
            let products = values.iter().zip(&values[distance..]);
            let count = (values.len() - distance) as f64;
            let correlation = products.map(|(&a, &b)| a as f64 * b as f64).sum::<f64>();
            let correlation = correlation / count / spread;
            assert!(
                correlation.abs() <= 5.0 / count.sqrt(),
                "{correlation} at {distance}"
            );
        }
    }
}
