//! Renyi loss of one Gaussian step on a Poisson sample.
//!
//! With P = (1 - q) N(0, z^2) + q N(1, z^2) and Q = N(0, z^2) the loss of order a is
//! ln(A) / (a - 1), A = E_Q[(P / Q)^a], and the opposite direction never costs more (Mironov, Talwar,
//! Zhang 2019, "Renyi differential privacy of the sampled Gaussian mechanism", theorem 5 and section
//! 3.3). A is close to 1 for rare samples, so both ways below sum the terms of A - 1, all of them
//! positive, and nothing cancels.

use super::gaussian_mean::ln_mean;
use super::log_sum::{LogSum, ln_exp_minus_one, ln_one_plus_exp};
use crate::accountant::PoissonGaussian;

/// The Renyi loss of order `order` > 1.
pub(super) fn loss(step: &PoissonGaussian, order: f64) -> f64 {
    let (q, z) = (step.sampling_rate(), step.noise_multiplier());
    if q == 0.0 {
        return 0.0;
    }
    if q == 1.0 {
        return order / (2.0 * z * z);
    }
    let ln_excess = if order.fract() == 0.0 {
        ln_excess_integer(q, z, order)
    } else {
        // the loss doesn't fall with the order: the next integer is a bound if the sums don't settle
        match ln_excess_fractional(q, z, order) {
            Some(ln_excess) => ln_excess,
            None => return loss(step, order.ceil()),
        }
    };
    ln_one_plus_exp(ln_excess) / (order - 1.0)
}

/// ln(A - 1) for an integer order: the binomial expansion of A has the terms
/// C(a,i) (1-q)^(a-i) q^i e^((i^2-i) / (2 z^2)); without the exponentials they sum to 1.
fn ln_excess_integer(q: f64, z: f64, order: f64) -> f64 {
    let (ln_q, ln_rest) = (q.ln(), (-q).ln_1p());
    let half_inverse_variance = 0.5 / (z * z);
    // C(a,1) to start from
    let mut ln_binomial = order.ln();
    let mut sum = LogSum::EMPTY;
    for i in 2..=order as u64 {
        let i = i as f64;
        ln_binomial += ((order - i + 1.0) / i).ln();
        let ln_weight = ln_binomial + (order - i) * ln_rest + i * ln_q;
        sum.add(ln_weight + ln_exp_minus_one(i * (i - 1.0) * half_inverse_variance));
    }
    sum.ln()
}

/// ln(A - 1) for any order by quadrature of (1 + u)^a - 1 - a u, where u = P / Q - 1 has mean 0.
fn ln_excess_fractional(q: f64, z: f64, order: f64) -> Option<f64> {
    let inverse_variance = 1.0 / (z * z);
    // the density varies over z; the logarithm of P / Q has its singularities at distance pi z^2
    let step = z * z.min(1.0);
    ln_mean(z, order, step, |x| {
        ln_convexity_gap(q, (x - 0.5) * inverse_variance, order)
    })
}

/// ln((1 + u)^a - 1 - a u) for u = q (e^y - 1), a > 1; the argument is not negative by convexity.
fn ln_convexity_gap(q: f64, y: f64, order: f64) -> f64 {
    if y > 700.0 {
        // (1 + u)^a is everything
        return order * (q.ln() + y);
    }
    let u = q * y.exp_m1();
    if u.abs() * order < 0.03 {
        // binomial series from its second term; its terms shrink by at least 0.03
        let mut term = 0.5 * order * (order - 1.0) * u * u;
        let mut sum = term;
        let mut k = 3.0;
        while term.abs() > 1e-17 * sum {
            term *= (order - k + 1.0) / k * u;
            sum += term;
            k += 1.0;
        }
        return sum.ln();
    }
    let ln_power = order * u.ln_1p();
    if ln_power < 36.0 {
        (ln_power.exp_m1() - order * u).ln()
    } else {
        ln_power + (-(1.0 + order * u) * (-ln_power).exp()).ln_1p()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn step(q: f64, z: f64) -> PoissonGaussian {
        PoissonGaussian::new(q, z).unwrap()
    }

    #[test]
    fn order_two_is_its_closed_form() {
        for (q, z) in [(1e-6, 1.0f64), (0.01, 0.5), (0.3, 4.0), (0.999, 30.0)] {
            let expected = (q * q * (1.0 / (z * z)).exp_m1()).ln_1p();
            let found = loss(&step(q, z), 2.0);
            assert!((found / expected - 1.0).abs() < 1e-12, "{found} {expected}");
        }
    }

    #[test]
    fn nobody_sampled_costs_nothing_and_everybody_costs_the_gaussian() {
        assert_eq!(loss(&step(0.0, 1.0), 3.5), 0.0);
        assert_eq!(loss(&step(1.0, 2.0), 3.0), 3.0 / 8.0);
    }

    #[test]
    fn quadrature_agrees_with_the_expansion_at_integer_orders() {
        for (q, z) in [
            (1e-6, 1.0),
            (0.001, 0.3),
            (0.01, 1.0),
            (0.3, 4.0),
            (0.5, 0.05),
            (0.9, 50.0),
        ] {
            for order in [2.0, 3.0, 10.0, 37.0, 150.0] {
                let sum = ln_excess_integer(q, z, order);
                let mean = ln_excess_fractional(q, z, order).unwrap();
                assert!(
                    (sum - mean).abs() <= 1e-10 * sum.abs().max(1.0),
                    "q {q} z {z} order {order}: {sum} {mean}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn the_loss_grows_with_the_order_and_the_rate_and_falls_with_the_noise(
            log_q in -12.0f64..-0.01,
            z in 0.2f64..20.0,
            order in 1.05f64..80.0,
            more in 1.001f64..2.0,
        ) {
            let q = log_q.exp();
            let here = loss(&step(q, z), order);
            prop_assert!(here.is_finite() && here > 0.0);
            let slack = 1.0 - 1e-11;
            prop_assert!(loss(&step(q, z), order * more) >= here * slack);
            prop_assert!(loss(&step((q * more).min(1.0), z), order) >= here * slack);
            prop_assert!(loss(&step(q, z * more), order) * slack <= here);
            prop_assert!(here <= loss(&step(1.0, z), order) * (1.0 + 1e-11));
        }

        #[test]
        fn a_fractional_order_lies_between_its_neighbours(
            log_q in -12.0f64..-0.01,
            z in 0.1f64..20.0,
            below in 2u32..60,
            fraction in 0.01f64..0.99,
        ) {
            let step = step(log_q.exp(), z);
            let (low, high) = (f64::from(below), f64::from(below) + 1.0);
            let found = loss(&step, low + fraction);
            prop_assert!(found >= loss(&step, low) * (1.0 - 1e-11));
            prop_assert!(found <= loss(&step, high) * (1.0 + 1e-11));
        }
    }
}
