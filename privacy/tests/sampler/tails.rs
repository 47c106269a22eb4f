//! Far tails, where chi-square cells would be empty.

use crate::Sampler;

/// The exact probability of |x| > bound.
fn beyond(sampler: &Sampler, bound: f64) -> f64 {
    let reach = sampler.reach();
    let total: f64 = (-reach..=reach).map(|x| sampler.weight(x)).sum();
    let tail = (0..=reach).filter(|&x| x as f64 > bound);
    2.0 * tail.map(|x| sampler.weight(x)).sum::<f64>() / total
}

/// Six standard deviations and four more counts, at six bounds for each of seven samplers: a false
/// alarm below 1e-6 over seeds. A million draws expect 63 beyond 4 sigma and half a value beyond 5.
#[test]
fn values_far_out_are_as_rare_as_they_should_be() {
    let draws = 1_000_000;
    let samplers = [
        (Sampler::gaussian(27, 10), 5.0),
        (Sampler::gaussian(300, 1), 5.0),
        (Sampler::table(64), 5.0),
        (Sampler::table(301), 5.0),
        (Sampler::table(65_536), 5.0),
        (Sampler::laplace(7, 2), 12.0),
        (Sampler::laplace(300, 1), 12.0),
    ];
    for (index, (sampler, furthest)) in samplers.iter().enumerate() {
        let values = sampler.samples(draws, 160 + index as u8);
        for step in 1..=6 {
            let bound = furthest * f64::from(step) / 6.0 * sampler.scale();
            let expected = beyond(sampler, bound) * draws as f64;
            let found = values.iter().filter(|x| x.abs() as f64 > bound).count() as f64;
            assert!(
                (found - expected).abs() <= 6.0 * expected.sqrt() + 4.0,
                "{found} beyond {bound}, {expected} expected, {}",
                sampler.name()
            );
        }
        // less than a thousandth of a value is expected out here
        let none = 2.0 * furthest * sampler.scale();
        assert!(beyond(sampler, none) * (draws as f64) < 1e-3);
        assert!(values.iter().all(|x| (x.abs() as f64) < none));
    }
}
