//! zCDP conversions, the Gaussian curve, trees, and the sampler's probabilities.

use tributary_privacy::accountant::epsilon_bun_steinke;
use tributary_privacy::{
    DiscreteGaussian, Rho, epsilon_cks20, epsilon_gaussian, epsilon_opendp, gaussian_delta,
    gaussian_noise_multiplier, gaussian_rho, noise_for, rho_for_epsilon,
};

use crate::reference::{assert_close, cases, number};

#[test]
fn zcdp_conversions_match_the_reference() {
    for case in cases("zcdp_to_eps") {
        let rho = Rho::from_f64(number(&case, "rho")).unwrap();
        let delta = number(&case, "delta");
        let cks20 = number(&case, "eps_cks20");
        assert_close(epsilon_cks20(rho, delta).unwrap(), cks20, 1e-9, &case);
        assert_close(epsilon_opendp(rho, delta).unwrap(), cks20, 1e-9, &case);
        let exact = epsilon_gaussian(rho, delta).unwrap();
        assert_close(exact, number(&case, "eps_exact_gaussian"), 1e-9, &case);
        let textbook = epsilon_bun_steinke(rho, delta).unwrap();
        assert_close(textbook, number(&case, "eps_bun_steinke"), 1e-9, &case);
        // the textbook conversion is the loosest of the three
        assert!(exact < cks20 && cks20 < textbook);
        let budget = rho_for_epsilon(cks20, delta).unwrap();
        assert_close(budget.as_f64(), rho.as_f64(), 1e-8, &case);
    }
}

#[test]
fn compositions_of_gaussian_releases_match_the_reference() {
    for case in cases("zcdp_compositions") {
        let mut total = Rho::ZERO;
        for sigma in case["sigmas"].as_array().unwrap() {
            let tenths = (sigma.as_f64().unwrap() * 10.0).round() as u64;
            let charge = DiscreteGaussian::from_ratio(tenths, 10)
                .unwrap()
                .rho(1)
                .unwrap();
            assert_eq!(charge, gaussian_rho(10, tenths).unwrap());
            total = total.checked_add(charge).unwrap();
        }
        // every charge is rounded up to 1e-12
        assert_close(total.as_f64(), number(&case, "rho_total"), 1e-10, &case);
        assert!(total.as_f64() >= number(&case, "rho_total") * (1.0 - 1e-15));
        let epsilon = epsilon_cks20(total, number(&case, "delta")).unwrap();
        assert_close(epsilon, number(&case, "eps_cks20"), 1e-9, &case);
    }
}

#[test]
fn trees_with_one_participation_convert_as_the_reference() {
    for case in cases("tree_single_participation") {
        let (sigma, height) = (
            number(&case, "sigma") as u64,
            number(&case, "height") as u64,
        );
        let rho = gaussian_rho(1, sigma).unwrap().checked_mul(height).unwrap();
        let delta = number(&case, "delta");
        assert_close(rho.as_f64(), number(&case, "rho"), 1e-9, &case);
        let (cks20, exact) = (epsilon_cks20(rho, delta), epsilon_gaussian(rho, delta));
        assert_close(cks20.unwrap(), number(&case, "eps_cks20"), 1e-9, &case);
        assert_close(
            exact.unwrap(),
            number(&case, "eps_exact_gaussian"),
            1e-9,
            &case,
        );
    }
}

#[test]
fn the_gaussian_curve_matches_the_reference_both_ways() {
    for case in cases("analytic_gaussian_delta") {
        let delta = gaussian_delta(number(&case, "sigma"), number(&case, "eps")).unwrap();
        assert_close(delta, number(&case, "delta"), 1e-9, &case);
    }
    for case in cases("analytic_gaussian_sigma") {
        let (epsilon, delta) = (number(&case, "eps"), number(&case, "delta"));
        let sigma = gaussian_noise_multiplier(epsilon, delta).unwrap();
        assert_close(sigma, number(&case, "sigma"), 1e-9, &case);
    }
}

/// A million samples per scale. Frequencies must lie within five standard deviations of the exact
/// probabilities (p0 to p3, both signs) and the variance within five of its own: about 32 checks at
/// 6e-7 each, a false alarm of 2e-5 over seeds; the seed is fixed.
#[test]
fn the_sampler_follows_the_reference_probabilities() {
    let draws = 1_000_000;
    for case in cases("discrete_gaussian_pmf") {
        let tenths = (number(&case, "sigma") * 10.0).round() as u64;
        let gaussian = DiscreteGaussian::from_ratio(tenths, 10).unwrap();
        let mut samples = vec![0i64; draws];
        let mut source = tributary_privacy::NoiseSource::seeded([42; 32]);
        gaussian.add_noise(&mut samples, &mut source);
        for value in -3i64..=3 {
            let probability = number(&case, &format!("p{}", value.abs()));
            let found = samples.iter().filter(|&&sample| sample == value).count() as f64;
            let expected = probability * draws as f64;
            let allowed = 5.0 * (expected * (1.0 - probability)).sqrt();
            // a value expected less than once in 10^5 runs must not show up at all
            let allowed = if expected < 1e-5 {
                0.5
            } else {
                allowed.max(1.5)
            };
            assert!(
                (found - expected).abs() <= allowed,
                "{value}: {found} of {expected}, {case}"
            );
        }
        let variance = samples.iter().map(|&x| (x * x) as f64).sum::<f64>() / draws as f64;
        let fourth = samples.iter().map(|&x| (x as f64).powi(4)).sum::<f64>() / draws as f64;
        let deviation = ((fourth - variance * variance) / draws as f64).sqrt();
        assert!(
            (variance - number(&case, "var")).abs() <= 5.0 * deviation,
            "{variance}, {case}"
        );
    }
}

#[test]
fn noise_bought_with_a_target_epsilon_gives_that_epsilon_back() {
    for case in cases("zcdp_to_eps") {
        let (epsilon, delta) = (number(&case, "eps_cks20"), number(&case, "delta"));
        let budget = rho_for_epsilon(epsilon, delta).unwrap();
        let bound = 1u128 << 20;
        let noise = noise_for(bound * bound, budget).unwrap();
        let charge = noise.rho(bound * bound).unwrap();
        assert!(charge <= budget);
        assert_close(epsilon_cks20(charge, delta).unwrap(), epsilon, 1e-5, &case);
    }
}
