//! Renyi loss of one Gaussian step on a sample of fixed size, one device replaced.
//!
//! Wang, Balle, Kasiviswanathan 2019, "Subsampled Renyi differential privacy and analytical moments
//! accountant", theorem 27: at an integer order a, with e(j) = j / (2 z^2) the Gaussian's own loss,
//!
//! A <= 1 + C(a,2) q^2 min(4 (e^e(2) - 1), 2 e^e(2))
//!        + sum_{j=3..a} C(a,j) q^j min(4 sqrt(B(2 floor(j/2)) B(2 ceil(j/2))), 2 e^((j-1) e(j)))
//!
//! B(l) is the l-th forward difference of e^((x-1) e(x)) at 0, which for even l is
//! E[(N(1, z^2) / N(0, z^2) - 1)^l]: a mean of positive numbers, taken by quadrature, where the
//! alternating sum of the difference would cancel.

use super::gaussian_mean::ln_mean;
use super::log_sum::{LogSum, ln_exp_minus_one, ln_one_plus_exp};
use crate::accountant::FixedSizeGaussian;

/// Above this order the second branch of the minimum is used alone, a valid and cheaper bound.
const LARGEST_DIFFERENCED: u64 = 256;

/// The bound for one step, at any number of orders.
pub(super) struct FixedSizeLoss {
    sampling_rate: f64,
    noise_multiplier: f64,
    /// ln B(2), ln B(4), ...
    ln_moments: Vec<f64>,
}

impl FixedSizeLoss {
    /// Prepares the moments that orders up to `largest_order` need.
    pub(super) fn new(step: &FixedSizeGaussian, largest_order: f64) -> Self {
        let noise_multiplier = step.noise_multiplier();
        let largest = (largest_order.ceil() as u64).min(LARGEST_DIFFERENCED);
        let ln_moments = (1..=largest.div_ceil(2))
            .map(|half| ln_moment(noise_multiplier, 2 * half))
            .collect();
        Self {
            sampling_rate: step.sampling_rate(),
            noise_multiplier,
            ln_moments,
        }
    }

    /// The Renyi loss of order `order` > 1. Between integers (a - 1) times the loss is interpolated:
    /// it is convex in a (their corollary 10).
    pub(super) fn at(&self, order: f64) -> f64 {
        if self.sampling_rate == 1.0 {
            return order / (2.0 * self.noise_multiplier.powi(2));
        }
        let (below, above) = (order.floor(), order.ceil());
        let low = self.cumulant(below as u64);
        if below == above {
            return low / (order - 1.0);
        }
        let high = self.cumulant(above as u64);
        let share = order - below;
        ((1.0 - share) * low + share * high) / (order - 1.0)
    }

    /// ln A at an integer order; 0 at order 1.
    fn cumulant(&self, order: u64) -> f64 {
        let ln_q = self.sampling_rate.ln();
        let half_inverse_variance = 0.5 / self.noise_multiplier.powi(2);
        let (ln_2, ln_4) = (std::f64::consts::LN_2, 2.0 * std::f64::consts::LN_2);
        let mut ln_binomial = (order as f64).ln();
        let mut sum = LogSum::EMPTY;
        for j in 2..=order {
            let x = j as f64;
            ln_binomial += ((order as f64 - x + 1.0) / x).ln();
            let mut ln_factor = ln_2 + x * (x - 1.0) * half_inverse_variance;
            if j == 2 {
                ln_factor = ln_factor.min(ln_4 + ln_exp_minus_one(2.0 * half_inverse_variance));
            } else if order <= LARGEST_DIFFERENCED {
                let low = self.ln_moments[(j / 2 - 1) as usize];
                let high = self.ln_moments[(j.div_ceil(2) - 1) as usize];
                ln_factor = ln_factor.min(ln_4 + 0.5 * (low + high));
            }
            sum.add(ln_binomial + x * ln_q + ln_factor);
        }
        ln_one_plus_exp(sum.ln())
    }
}

/// ln E[(N(1, z^2) / N(0, z^2) - 1)^power] under N(0, z^2), for an even power.
fn ln_moment(noise_multiplier: f64, power: u64) -> f64 {
    let inverse_variance = 1.0 / (noise_multiplier * noise_multiplier);
    let exponent = power as f64;
    let mean = ln_mean(noise_multiplier, exponent, noise_multiplier, |x| {
        let y = (x - 0.5) * inverse_variance;
        let ln_distance = if y > 0.0 {
            ln_exp_minus_one(y)
        } else {
            (-y.exp_m1()).ln()
        };
        exponent * ln_distance
    });
    // without a settled mean the other branch of the minimum holds
    mean.unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_equal_the_alternating_sums_they_stand_for() {
        for z in [0.5f64, 1.0, 2.0] {
            for power in [2u64, 4, 6] {
                let mut binomial = 1.0f64;
                let mut difference = 0.0;
                for i in 0..=power {
                    let x = i as f64;
                    let sign = if (power - i) % 2 == 0 { 1.0 } else { -1.0 };
                    difference += sign * binomial * (x * (x - 1.0) / (2.0 * z * z)).exp();
                    binomial *= (power - i) as f64 / (x + 1.0);
                }
                let found = ln_moment(z, power).exp();
                assert!(
                    (found / difference - 1.0).abs() < 1e-9,
                    "{found} {difference}"
                );
            }
        }
    }

    #[test]
    fn the_whole_fleet_costs_the_gaussian() {
        let step = FixedSizeGaussian::new(50, 50, 2.0).unwrap();
        assert_eq!(FixedSizeLoss::new(&step, 10.0).at(4.0), 0.5);
    }

    #[test]
    fn smaller_samples_higher_noise_and_lower_orders_cost_less() {
        let loss = |sample, z, order| {
            let step = FixedSizeGaussian::new(1000, sample, z).unwrap();
            FixedSizeLoss::new(&step, order).at(order)
        };
        for order in [1.5, 2.0, 2.5, 7.0, 40.0, 300.0] {
            assert!(loss(10, 2.0, order) < loss(20, 2.0, order));
            assert!(loss(10, 2.0, order) < loss(10, 1.5, order));
            // from order 1 to 2 the interpolated loss is flat
            assert!(loss(10, 2.0, order) <= loss(10, 2.0, order + 0.5) * (1.0 + 1e-12));
        }
    }
}
