//! Renyi differential privacy: a loss per order, which adds up over steps of any kind.

mod fixed_size;
mod gaussian_mean;
mod log_sum;
mod poisson;

use super::error::check_steps;
use super::guarantee::{Accountant, Guarantee, NoisyRun};
use super::sampled::check_noise;
use super::{
    AccountingError, Adjacency, FixedSizeGaussian, PoissonGaussian, check_delta,
    check_epsilon_of_delta, tree_height,
};
use fixed_size::FixedSizeLoss;
pub(super) use log_sum::LogSum;

/// The largest Renyi order that is computed.
pub const LARGEST_ORDER: f64 = 65_536.0;

/// Orders this close to 1 are of no use in a conversion, which divides by their distance from 1.
const LEAST_CONVERTED: f64 = 1.01;

/// The 156 orders that other accountants use as well: 1.1 to 10.9 by tenths, 11 to 63, then 128,
/// 256, 512, 1024.
pub fn default_orders() -> Vec<f64> {
    let tenths = (1..100).map(|tenth| 1.0 + f64::from(tenth) / 10.0);
    let integers = (11..64).map(f64::from);
    tenths
        .chain(integers)
        .chain([128.0, 256.0, 512.0, 1024.0])
        .collect()
}

/// The Renyi loss of a run at a list of orders (Mironov 2017, definition 4), with what ran.
#[derive(Debug, Clone, PartialEq)]
pub struct RdpCurve {
    orders: Vec<f64>,
    losses: Vec<f64>,
    adjacency: Adjacency,
    run: NoisyRun,
}

impl RdpCurve {
    /// `steps` Gaussian releases on all devices, a / (2 z^2) each (Mironov 2017, proposition 7), under
    /// the adjacency for which `noise_multiplier` is the standard deviation over the sensitivity.
    ///
    /// # Errors
    /// For the multiplier as in [`PoissonGaussian::new`]; [`AccountingError::NoSteps`];
    /// [`AccountingError::NoOrders`]; [`AccountingError::BadOrder`].
    pub fn gaussian(
        noise_multiplier: f64,
        steps: u64,
        adjacency: Adjacency,
        orders: &[f64],
    ) -> Result<Self, AccountingError> {
        check_noise(noise_multiplier)?;
        let run = NoisyRun::Gaussian {
            noise_multiplier,
            steps,
        };
        let loss = |order| order / (2.0 * noise_multiplier * noise_multiplier);
        Self::new(orders, steps, loss, adjacency, run)
    }

    /// `steps` steps on Poisson samples, one device added or removed: exact at integer orders, by
    /// quadrature between them.
    ///
    /// # Errors
    /// [`AccountingError::NoSteps`], [`AccountingError::NoOrders`], [`AccountingError::BadOrder`].
    pub fn poisson_gaussian(
        step: &PoissonGaussian,
        steps: u64,
        orders: &[f64],
    ) -> Result<Self, AccountingError> {
        let run = NoisyRun::Poisson { step: *step, steps };
        let loss = |order| poisson::loss(step, order);
        Self::new(orders, steps, loss, Adjacency::AddOrRemoveDevice, run)
    }

    /// `steps` steps on samples of fixed size, one device replaced: an upper bound (Wang, Balle,
    /// Kasiviswanathan 2019, theorem 27).
    ///
    /// # Errors
    /// [`AccountingError::NoSteps`], [`AccountingError::NoOrders`], [`AccountingError::BadOrder`].
    pub fn fixed_size_gaussian(
        step: &FixedSizeGaussian,
        steps: u64,
        orders: &[f64],
    ) -> Result<Self, AccountingError> {
        check_orders(orders)?;
        let run = NoisyRun::FixedSize { step: *step, steps };
        let largest = orders.iter().copied().fold(0.0, f64::max);
        let bound = FixedSizeLoss::new(step, largest);
        let loss = |order| bound.at(order);
        Self::new(orders, steps, loss, Adjacency::ReplaceDevice, run)
    }

    /// Tree aggregation over `steps` steps with at most one participation per device:
    /// a height / (2 z^2) for the whole run, see [`tree_height`].
    ///
    /// # Errors
    /// For the multiplier as in [`PoissonGaussian::new`]; [`AccountingError::NoSteps`];
    /// [`AccountingError::NoOrders`]; [`AccountingError::BadOrder`].
    pub fn tree(
        noise_multiplier: f64,
        steps: u64,
        orders: &[f64],
    ) -> Result<Self, AccountingError> {
        check_noise(noise_multiplier)?;
        let height = f64::from(tree_height(steps)?);
        let run = NoisyRun::Tree {
            noise_multiplier,
            steps,
        };
        let loss = |order| order * height / (2.0 * noise_multiplier * noise_multiplier);
        Self::new(orders, 1, loss, Adjacency::ZeroOutDevice, run)
    }

    fn new(
        orders: &[f64],
        steps: u64,
        loss: impl Fn(f64) -> f64,
        adjacency: Adjacency,
        run: NoisyRun,
    ) -> Result<Self, AccountingError> {
        check_orders(orders)?;
        check_steps(steps)?;
        Ok(Self {
            orders: orders.to_vec(),
            losses: orders.iter().map(|&a| loss(a) * steps as f64).collect(),
            adjacency,
            run,
        })
    }

    /// This run, then `next` on the same devices: losses add order by order (Mironov 2017,
    /// proposition 1).
    ///
    /// # Errors
    /// [`AccountingError::MixedComposition`] unless both have the same orders and adjacency.
    pub fn then(mut self, next: Self) -> Result<Self, AccountingError> {
        if self.orders != next.orders {
            let field = "orders";
            return Err(AccountingError::MixedComposition { field });
        }
        if self.adjacency != next.adjacency {
            let field = "adjacency";
            return Err(AccountingError::MixedComposition { field });
        }
        for (loss, more) in self.losses.iter_mut().zip(next.losses) {
            *loss += more;
        }
        self.run = match (self.run, next.run) {
            (NoisyRun::Several(mut runs), NoisyRun::Several(more)) => {
                runs.extend(more);
                NoisyRun::Several(runs)
            }
            (NoisyRun::Several(mut runs), run) => {
                runs.push(run);
                NoisyRun::Several(runs)
            }
            (first, run) => NoisyRun::Several(vec![first, run]),
        };
        Ok(self)
    }

    /// A curve of one Poisson step, as one of `steps` steps.
    pub(super) fn repeated(&self, step: &PoissonGaussian, steps: u64) -> Self {
        let mut curve = self.clone();
        for loss in &mut curve.losses {
            *loss *= steps as f64;
        }
        curve.run = NoisyRun::Poisson { step: *step, steps };
        curve
    }

    /// The orders.
    pub fn orders(&self) -> &[f64] {
        &self.orders
    }

    /// The loss of the whole run at each order.
    pub fn losses(&self) -> &[f64] {
        &self.losses
    }

    /// The epsilon at `delta`: the least over the orders of
    /// loss + ln(1 - 1/a) - ln(a delta) / (a - 1) (Canonne, Kamath, Steinke 2020, proposition 12), and
    /// 0 where delta^2 > 1 - e^-loss, a bound of the total variation by the loss (Bretagnolle and
    /// Huber 1979; every order's loss is at least the Kullback-Leibler divergence).
    ///
    /// # Errors
    /// [`AccountingError::BadDelta`].
    pub fn epsilon(&self, delta: f64) -> Result<Guarantee, AccountingError> {
        check_delta(delta)?;
        let at = |order: f64, loss: f64| {
            if delta * delta + (-loss).exp_m1() > 0.0 {
                return 0.0;
            }
            if order <= LEAST_CONVERTED {
                return f64::INFINITY;
            }
            let epsilon = loss + (-1.0 / order).ln_1p() - (delta * order).ln() / (order - 1.0);
            epsilon.max(0.0)
        };
        let (epsilon, order) = self.least(at);
        Ok(self.guarantee(epsilon, delta, order))
    }

    /// The delta at `epsilon`: the least over the orders of
    /// e^((a - 1)(loss - epsilon + ln(1 - 1/a))) / a (the same proposition, solved for delta) and of
    /// sqrt(1 - e^-loss).
    ///
    /// # Errors
    /// [`AccountingError::BadEpsilon`] unless epsilon is finite and at least 0.
    pub fn delta(&self, epsilon: f64) -> Result<Guarantee, AccountingError> {
        check_epsilon_of_delta(epsilon)?;
        let at = |order: f64, loss: f64| {
            let total_variation = (-(-loss).exp_m1()).sqrt();
            if order <= LEAST_CONVERTED {
                return total_variation;
            }
            let exponent = (order - 1.0) * (loss - epsilon + (-1.0 / order).ln_1p());
            (exponent.exp() / order).min(total_variation)
        };
        let (delta, order) = self.least(at);
        Ok(self.guarantee(epsilon, delta, order))
    }

    /// The least value over the orders and the first order that gives it.
    fn least(&self, value: impl Fn(f64, f64) -> f64) -> (f64, f64) {
        let mut best = (f64::INFINITY, f64::NAN);
        for (&order, &loss) in self.orders.iter().zip(&self.losses) {
            let value = value(order, loss);
            if value < best.0 || best.1.is_nan() {
                best = (value, order);
            }
        }
        best
    }

    fn guarantee(&self, epsilon: f64, delta: f64, order: f64) -> Guarantee {
        Guarantee {
            epsilon,
            delta,
            adjacency: self.adjacency,
            mechanism: self.run.clone(),
            accountant: Accountant::Rdp { order },
        }
    }
}

fn check_orders(orders: &[f64]) -> Result<(), AccountingError> {
    if orders.is_empty() {
        return Err(AccountingError::NoOrders);
    }
    for &order in orders {
        // written so that NaN is refused
        if !(order > 1.0 && order <= LARGEST_ORDER) {
            let most = LARGEST_ORDER;
            return Err(AccountingError::BadOrder { order, most });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
