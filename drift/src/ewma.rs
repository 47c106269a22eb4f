//! Exponentially weighted mean of a stream's shares, with the exact parameters of its covariance.

use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;
use crate::wald::{Contrast, Wald, pooled_shares};

/// Weighted sum of the shares of the windows since the reference was made.
///
/// After window `t` with weight `L`: `e <- (1-L) e + L x/n`. It starts at 0, so the weights add up to
/// `w = 1 - (1-L)^t` and it is compared with `w` times the reference. That keeps its covariance exact
/// from the first window on, whatever the device counts: the multinomial part is
/// `sum_i w_i^2 / n_i + w^2 / m`, the noise part `sum_i w_i^2 v_i / n_i^2 + w^2 v / m^2`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ewma {
    shares: Vec<f64>,
    weight: f64,
    sampling: f64,
    noise: f64,
    estimated: bool,
}

impl Ewma {
    pub(crate) fn new(bins: usize) -> Self {
        Self {
            shares: vec![0.0; bins],
            weight: 0.0,
            sampling: 0.0,
            noise: 0.0,
            estimated: false,
        }
    }

    /// Takes in a window. The caller has checked that it has devices and the right bins.
    pub(crate) fn push(&mut self, window: &Histogram, smoothing: f64) {
        let n = window.devices() as f64;
        let keep = 1.0 - smoothing;
        for (share, &count) in self.shares.iter_mut().zip(window.counts()) {
            *share = keep * *share + smoothing * count as f64 / n;
        }
        self.weight = keep * self.weight + smoothing;
        self.sampling = keep * keep * self.sampling + smoothing * smoothing / n;
        let noise = window.noise_variance() / (n * n);
        self.noise = keep * keep * self.noise + smoothing * smoothing * noise;
        self.estimated |= window.devices_estimated();
    }

    /// Tests the mean against the reference.
    pub(crate) fn test(&self, reference: &Histogram) -> Wald {
        let m = reference.devices() as f64;
        let weight = self.weight;
        // as many devices as would give the mean's sampling variance in one window
        let effective = weight * weight / self.sampling;
        let shares = || self.shares.iter().zip(reference.counts());
        let raw: Vec<f64> = shares()
            .map(|(&share, &y)| (share / weight * effective + y as f64) / (effective + m))
            .collect();
        let contrast = Contrast {
            difference: shares()
                .map(|(&share, &y)| share - weight * y as f64 / m)
                .collect(),
            occupied: raw.iter().filter(|&&share| share > 0.0).count(),
            pooled: pooled_shares(raw, effective + m),
            sampling: self.sampling + weight * weight / m,
            noise: self.noise + weight * weight * reference.noise_variance() / (m * m),
            estimated: self.estimated || reference.devices_estimated(),
        };
        contrast.test()
    }
}
