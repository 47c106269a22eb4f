//! OpenDP as the second opinion: its samples, whose generator can't be seeded, and its privacy maps.

use opendp::core::Measurement;
use opendp::domains::{AtomDomain, VectorDomain};
use opendp::measurements::{make_gaussian, make_laplace};
use opendp::measures::{MaxDivergence, ZeroConcentratedDivergence};
use opendp::metrics::{L1Distance, L2Distance};
use tributary_privacy::{DiscreteGaussian, DiscreteLaplace};

use crate::Sampler;
use crate::chi_square::{UNSEEDED, assert_plausible, two_samples};

type Domain = VectorDomain<AtomDomain<i64>>;

/// Few enough to take 0.1 s.
const DRAWS: usize = 20_000;

fn vectors(length: usize) -> Domain {
    VectorDomain::new(AtomDomain::<i64>::default()).with_size(length)
}

fn gaussian(
    sigma: f64,
    length: usize,
) -> Measurement<Domain, L2Distance<f64>, ZeroConcentratedDivergence, Vec<i64>> {
    make_gaussian(vectors(length), L2Distance::default(), sigma, None).unwrap()
}

fn laplace(
    scale: f64,
    length: usize,
) -> Measurement<Domain, L1Distance<f64>, MaxDivergence, Vec<i64>> {
    make_laplace(vectors(length), L1Distance::default(), scale, None).unwrap()
}

#[test]
fn gaussian_samples_look_like_those_of_opendp() {
    for (sampler, width) in [
        (Sampler::gaussian(3, 1), 1),
        (Sampler::table(64), 8),
        (Sampler::gaussian(601, 2), 40),
        (Sampler::table(1 << 20), 1 << 17),
    ] {
        let ours = sampler.samples(20 * DRAWS, 81);
        let theirs = gaussian(sampler.scale(), DRAWS).invoke(&vec![0; DRAWS]);
        let statistic = two_samples(&ours, &theirs.unwrap(), width);
        assert_plausible(
            statistic,
            UNSEEDED,
            &format!("OpenDP and our {}", sampler.name()),
        );
    }
}

#[test]
fn laplace_samples_look_like_those_of_opendp() {
    for (sampler, width) in [
        (Sampler::laplace(3, 1), 1),
        (Sampler::laplace(1, 2), 1),
        (Sampler::laplace(1_000, 1), 200),
    ] {
        let ours = sampler.samples(20 * DRAWS, 82);
        let theirs = laplace(sampler.scale(), DRAWS).invoke(&vec![0; DRAWS]);
        let statistic = two_samples(&ours, &theirs.unwrap(), width);
        assert_plausible(
            statistic,
            UNSEEDED,
            &format!("OpenDP and our {}", sampler.name()),
        );
    }
}

/// Ours is rounded up to 10^-12, theirs to the next float.
#[test]
fn the_charge_of_gaussian_noise_is_that_of_opendps_privacy_map() {
    for (p, q) in [
        (3, 10),
        (1, 1),
        (27, 10),
        (601, 2),
        (4_096, 1),
        (1 << 20, 1),
    ] {
        let ours = DiscreteGaussian::from_ratio(p, q).unwrap();
        let theirs = gaussian(ours.sigma(), 10);
        for distance in [1u64, 2, 1_000] {
            let theirs = theirs.map(&(distance as f64)).unwrap();
            let ours = ours.rho(u128::from(distance).pow(2)).unwrap().as_f64();
            assert!(
                (ours - theirs).abs() <= 1.1e-12 + 1e-12 * theirs,
                "{ours} {theirs}"
            );
        }
    }
}

#[test]
fn the_epsilon_of_laplace_noise_is_that_of_opendps_privacy_map() {
    for (p, q) in [(3, 10), (1, 1), (7, 2), (1_000, 1)] {
        let ours = DiscreteLaplace::from_ratio(p, q).unwrap();
        let theirs = laplace(ours.scale(), 10);
        for distance in [1u64, 3, 1_000] {
            let theirs = theirs.map(&(distance as f64)).unwrap();
            let ours = ours.epsilon(distance);
            // theirs may differ by the rounding of the scale to a float
            assert!((ours / theirs - 1.0).abs() < 1e-14, "{ours} {theirs}");
        }
    }
}
