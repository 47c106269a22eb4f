//! How large a shift is, in units people know. For display and for "is it worth it", never for the
//! decision: these numbers have no threshold that holds at all sizes and noises.

use serde::{Deserialize, Serialize};

use crate::error::DriftError;
use crate::histogram::Histogram;
use crate::wald::Contrast;

/// Size of a shift.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// Population stability index less its expectation without drift; 0.04 is a mean shift of about
    /// 0.2 standard deviations of a normal variable, 0.24 of 0.5, 0.95 of 1.
    pub psi: f64,
    /// Jensen-Shannon distance (natural logarithm, at most 0.833) less what noise alone would give.
    pub js_distance: f64,
    /// Shift of the mean bin index, missing values left out; its sign is the direction.
    pub mean_shift_bins: f64,
}

/// All effect sizes of one comparison.
///
/// # Errors
/// [`DriftError::DifferentQuantities`], or [`DriftError::Empty`] if a side has no devices.
pub fn effect(current: &Histogram, reference: &Histogram) -> Result<Effect, DriftError> {
    Ok(Effect {
        psi: debiased_psi(current, reference)?,
        js_distance: debiased_js_distance(current, reference)?,
        mean_shift_bins: mean_bin(current) - mean_bin(reference),
    })
}

/// Population stability index `sum (p - q) ln(p/q)`, natural logarithm.
///
/// Negative counts are raised to 0, then half a device is added to each bin, or one standard deviation
/// of the noise where that is more: a logarithm of noise says nothing.
///
/// # Errors
/// [`DriftError::DifferentQuantities`], or [`DriftError::Empty`] if a side has no devices.
pub fn psi(current: &Histogram, reference: &Histogram) -> Result<f64, DriftError> {
    Contrast::of(current, reference)?;
    let (p, q) = (
        Shares::smoothed(current, 0.5),
        Shares::smoothed(reference, 0.5),
    );
    Ok(p.values
        .iter()
        .zip(&q.values)
        .map(|(p, q)| (p - q) * (p / q).ln())
        .sum())
}

/// [`psi`] less its expectation without drift, at least 0.
///
/// The expectation is the second-order expansion `sum Var(p_k - q_k) / p_k` (for unsmoothed shares
/// `(K-1)(1/n + 1/m) + sum (vx/n^2 + vy/m^2)/p_k`). Smoothing and cutting at 0 make the true
/// expectation a little smaller, so rare bins are understated rather than overstated.
///
/// # Errors
/// [`DriftError::DifferentQuantities`], or [`DriftError::Empty`] if a side has no devices.
pub fn debiased_psi(current: &Histogram, reference: &Histogram) -> Result<f64, DriftError> {
    let raw = psi(current, reference)?;
    Ok((raw - null_psi(current, reference, 0.5)?).max(0.0))
}

/// Jensen-Shannon distance `sqrt((KL(p|m) + KL(q|m))/2)`, `m = (p+q)/2`, natural logarithm: 0 for equal,
/// `sqrt(ln 2) = 0.8326` for disjoint. Negative counts are raised to 0; nothing is added.
///
/// # Errors
/// [`DriftError::DifferentQuantities`], or [`DriftError::Empty`] if a side has no devices.
pub fn js_distance(current: &Histogram, reference: &Histogram) -> Result<f64, DriftError> {
    Contrast::of(current, reference)?;
    let (p, q) = (Shares::raw(current), Shares::raw(reference));
    Ok(js_divergence(&p.values, &q.values).sqrt())
}

/// Jensen-Shannon distance with its expectation without drift removed: the divergence is an eighth of
/// the PSI to second order, and so is its bias. Under noise the shares are smoothed as in [`psi`].
///
/// # Errors
/// [`DriftError::DifferentQuantities`], or [`DriftError::Empty`] if a side has no devices.
pub fn debiased_js_distance(current: &Histogram, reference: &Histogram) -> Result<f64, DriftError> {
    let bias = null_psi(current, reference, 0.0)? / 8.0;
    let (p, q) = (
        Shares::smoothed(current, 0.0),
        Shares::smoothed(reference, 0.0),
    );
    Ok((js_divergence(&p.values, &q.values) - bias).max(0.0).sqrt())
}

/// The PSI that a single window shows with a probability of about 0.8, given the `threshold` of the
/// statistic.
///
/// The statistic of a shift is noncentral chi-square with noncentrality `l`; its normal approximation
/// (mean `d + l`, variance `2(d + 2l)`) gives `l`. A shift whose PSI is spread evenly over the bins has
/// `l = PSI * mean(1 / (c + s/p_k))`.
///
/// # Errors
/// [`DriftError::DifferentQuantities`], or [`DriftError::Empty`] if a side has no devices.
pub fn minimal_detectable_psi(
    current: &Histogram,
    reference: &Histogram,
    threshold: f64,
) -> Result<f64, DriftError> {
    let contrast = Contrast::of(current, reference)?;
    let degrees = f64::from(contrast.test().degrees);
    let information: f64 = contrast
        .pooled
        .iter()
        .map(|share| 1.0 / (contrast.sampling + contrast.noise / share))
        .sum::<f64>()
        / contrast.pooled.len() as f64;
    Ok(noncentrality(threshold, degrees) / information)
}

/// Solves `d + l - 0.84 sqrt(2 (d + 2 l)) = threshold` for `l`.
pub(crate) fn noncentrality(threshold: f64, degrees: f64) -> f64 {
    const QUANTILE_OF_POWER: f64 = 0.841_621_233_572_914_3;
    let excess = threshold - degrees;
    let square = 2.0 * QUANTILE_OF_POWER * QUANTILE_OF_POWER;
    // (l - excess)^2 = square (d + 2 l), the larger root
    let half = excess + square;
    let root = (half * half - excess * excess + square * degrees)
        .max(0.0)
        .sqrt();
    (half + root).max(0.0)
}

/// Shares of one side and the factor by which smoothing shrinks a deviation.
struct Shares {
    values: Vec<f64>,
    shrinkage: f64,
}

impl Shares {
    fn raw(histogram: &Histogram) -> Self {
        Self::with_pseudocount(histogram, 0.0)
    }

    fn smoothed(histogram: &Histogram, least: f64) -> Self {
        Self::with_pseudocount(histogram, histogram.noise_variance().sqrt().max(least))
    }

    fn with_pseudocount(histogram: &Histogram, pseudocount: f64) -> Self {
        let counts = histogram.counts();
        let raised = counts
            .iter()
            .map(|&count| (count as f64).max(0.0) + pseudocount);
        let sum: f64 = raised.clone().sum::<f64>().max(f64::MIN_POSITIVE);
        let values = raised.map(|count| count / sum).collect();
        Self {
            values,
            shrinkage: histogram.devices() as f64 / sum,
        }
    }
}

fn null_psi(current: &Histogram, reference: &Histogram, least: f64) -> Result<f64, DriftError> {
    let contrast = Contrast::of(current, reference)?;
    let sides = [current, reference].map(|side| {
        let n = side.devices() as f64;
        (
            Shares::smoothed(side, least),
            1.0 / n,
            side.noise_variance() / (n * n),
        )
    });
    let (n, m) = (current.devices() as f64, reference.devices() as f64);
    let bins = contrast.pooled.iter().enumerate();
    let terms = bins.map(|(bin, &p)| {
        let variance: f64 = sides
            .iter()
            .map(|(shares, per, noise)| (p * (1.0 - p) * per + noise) * shares.shrinkage.powi(2))
            .sum();
        let smoothed = (sides[0].0.values[bin] * n + sides[1].0.values[bin] * m) / (n + m);
        // a bin that neither side has counted adds nothing to the distance either
        if smoothed > 0.0 {
            variance / smoothed
        } else {
            0.0
        }
    });
    Ok(terms.sum())
}

fn js_divergence(p: &[f64], q: &[f64]) -> f64 {
    let half_kl = |a: f64, b: f64| {
        if a > 0.0 {
            0.5 * a * (2.0 * a / (a + b)).ln()
        } else {
            0.0
        }
    };
    let sum: f64 = p
        .iter()
        .zip(q)
        .map(|(&p, &q)| half_kl(p, q) + half_kl(q, p))
        .sum();
    sum.max(0.0)
}

/// Mean bin index without the missing bin (the last); negative counts are raised to 0.
fn mean_bin(histogram: &Histogram) -> f64 {
    let counted = &histogram.counts()[..histogram.counts().len() - 1];
    let raised = || counted.iter().map(|&count| (count as f64).max(0.0));
    let devices: f64 = raised().sum();
    if devices <= 0.0 {
        return 0.0;
    }
    raised()
        .enumerate()
        .map(|(bin, count)| bin as f64 * count)
        .sum::<f64>()
        / devices
}
