//! The DP-aware Wald statistic: the covariance holds sampling and privacy noise of both sides.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF};

use crate::error::DriftError;
use crate::histogram::Histogram;

/// Result of one two-sample test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Wald {
    /// Quadratic form, chi-square distributed without drift.
    pub statistic: f64,
    /// Degrees of freedom, at least 1.
    pub degrees: u32,
    /// Probability of a statistic at least this large without drift.
    pub p_value: f64,
}

/// Tests whether two histograms come from the same distribution.
///
/// With shares `x/n` and `y/m`, difference `z = x/n - y/m` and pooled shares `p`, the statistic is
/// `T = z' S^-1 z` where `S = (diag(p) - p p')(1/n + 1/m) + I (vx/n^2 + vy/m^2)` and `vx`, `vy` are the
/// noise variances per bin (the Wald construction of Gaboardi, Lim, Rogers, Vadhan 2016, "Differentially
/// private chi-squared hypothesis testing", for two noised samples). `S^-1` is applied by
/// Sherman-Morrison in O(bins). Pooled shares are at least half a device.
///
/// Degrees of freedom: bins; bins - 1 where a device count is estimated from the counts (the direction
/// of a wrong count is projected out); occupied bins - 1 without noise, where `T` is Pearson's
/// homogeneity statistic.
///
/// # Errors
/// [`DriftError::DifferentQuantities`], or [`DriftError::Empty`] if a side has no devices.
pub fn wald(current: &Histogram, reference: &Histogram) -> Result<Wald, DriftError> {
    Ok(Contrast::of(current, reference)?.test())
}

/// Difference of two share vectors with the parameters of its covariance.
#[derive(Debug, Clone)]
pub(crate) struct Contrast {
    /// Difference of shares, per bin.
    pub difference: Vec<f64>,
    /// Shares without drift, positive, summing to 1.
    pub pooled: Vec<f64>,
    /// Bins that anything was counted in.
    pub occupied: usize,
    /// Factor of the multinomial covariance: `1/n + 1/m`.
    pub sampling: f64,
    /// Noise variance of the difference, per bin.
    pub noise: f64,
    /// Whether the device count of a side is an estimate.
    pub estimated: bool,
}

impl Contrast {
    pub(crate) fn of(current: &Histogram, reference: &Histogram) -> Result<Self, DriftError> {
        current.check_comparable(reference)?;
        for side in [current, reference] {
            if side.devices() == 0 {
                return Err(DriftError::Empty {
                    quantity: side.quantity().clone(),
                });
            }
        }
        let (n, m) = (current.devices() as f64, reference.devices() as f64);
        let counts = || current.counts().iter().zip(reference.counts());
        let raw: Vec<f64> = counts()
            .map(|(&x, &y)| (x as f64 + y as f64) / (n + m))
            .collect();
        Ok(Self {
            difference: counts()
                .map(|(&x, &y)| x as f64 / n - y as f64 / m)
                .collect(),
            occupied: raw.iter().filter(|&&share| share > 0.0).count(),
            pooled: pooled_shares(raw, n + m),
            sampling: 1.0 / n + 1.0 / m,
            noise: current.noise_variance() / (n * n) + reference.noise_variance() / (m * m),
            estimated: current.devices_estimated() || reference.devices_estimated(),
        })
    }

    pub(crate) fn test(&self) -> Wald {
        let (statistic, degrees) = (self.statistic(), self.degrees());
        Wald {
            statistic,
            degrees,
            p_value: chi_squared_tail(statistic, degrees),
        }
    }

    fn degrees(&self) -> u32 {
        let degrees = match (self.noise > 0.0, self.estimated) {
            (true, false) => self.pooled.len(),
            (true, true) => self.pooled.len() - 1,
            (false, _) => self.occupied.saturating_sub(1),
        };
        // a quantity has at most MAX_BINS bins, so this can't truncate
        degrees.max(1) as u32
    }

    /// With `d = p c + s` on the diagonal, `a = sum p^2/d` and `b = sum z p/d`, Sherman-Morrison gives
    /// `sum z^2/d + c b^2 / (1 - c a)`, and `1 - c a = s sum p/d` without cancellation. Projecting out
    /// the direction `p` (an unknown device count) leaves `sum z^2/d - b^2/a`, which also holds at s = 0.
    fn statistic(&self) -> f64 {
        let (mut squares, mut a, mut b, mut mass) = (0.0, 0.0, 0.0, 0.0);
        for (&z, &p) in self.difference.iter().zip(&self.pooled) {
            let weight = 1.0 / (p * self.sampling + self.noise);
            squares += z * z * weight;
            a += p * p * weight;
            b += z * p * weight;
            mass += p * weight;
        }
        if self.noise > 0.0 && !self.estimated {
            squares + self.sampling * b * b / (self.noise * mass)
        } else {
            (squares - b * b / a).max(0.0)
        }
    }

    /// Mean over bins of the variance of the difference.
    pub(crate) fn mean_variance(pooled: &[f64], sampling: f64, noise: f64) -> f64 {
        let multinomial: f64 = pooled.iter().map(|p| p * (1.0 - p)).sum();
        multinomial / pooled.len() as f64 * sampling + noise
    }
}

/// Shares raised to half a device, so that an empty bin has a variance, and made to sum to 1.
pub(crate) fn pooled_shares(raw: Vec<f64>, devices: f64) -> Vec<f64> {
    let floor = 0.5 / devices;
    let raised: Vec<f64> = raw
        .into_iter()
        .map(|share| share.clamp(floor, 1.0))
        .collect();
    let sum: f64 = raised.iter().sum();
    raised.into_iter().map(|share| share / sum).collect()
}

/// Upper tail of the chi-square distribution.
pub(crate) fn chi_squared_tail(statistic: f64, degrees: u32) -> f64 {
    // degrees is at least 1, which is all that the distribution asks for
    ChiSquared::new(f64::from(degrees.max(1))).map_or(1.0, |law| law.sf(statistic))
}

/// The value that a chi-square variable passes with probability `tail`, by bisection to 1e-9.
pub(crate) fn chi_squared_upper(tail: f64, degrees: u32) -> f64 {
    let (mut low, mut high) = (0.0, f64::from(degrees) + 10.0);
    while chi_squared_tail(high, degrees) > tail && high < 1e6 {
        high *= 2.0;
    }
    while high - low > 1e-9 * high {
        let middle = 0.5 * (low + high);
        if chi_squared_tail(middle, degrees) > tail {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}
