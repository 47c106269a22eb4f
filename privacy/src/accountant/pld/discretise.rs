//! One step's privacy loss on a grid.
//!
//! With P = (1 - q) N(0, z^2) + q N(1, z^2) (the device is there) and Q = N(0, z^2) (it is not) the loss
//! at x is L(x) = ln(P / Q) = ln(1 + q (e^((2x - 1) / (2 z^2)) - 1)), which grows with x. A loss
//! between two grid points is split between them so that both its P-mass and its Q-mass are kept: the
//! upper point l' = l + h gets the share (1 - e^(l - L)) / (1 - e^-h). The discrete pair then has the
//! true delta at every grid epsilon and, between two of them, the chord in e^epsilon of a convex curve:
//! never below the truth, in either direction ("connect the dots": Doroshenko, Ghazi, Kamath, Kumar,
//! Manurangsi 2022). Compositions of dominating pairs dominate (Zhu, Dong, Wang 2022, theorem 10).

use statrs::function::erf::erfc;

use crate::accountant::PoissonGaussian;
use crate::accountant::rdp::LogSum;

/// Standard deviations of noise on either side that are put on the grid; the rest, a mass of 2e-33,
/// counts as failure.
const REACH: f64 = 12.0;

/// Nodes and weights of Gauss-Legendre quadrature on [-1, 1], for slivers and for wider pieces.
const TWO_POINTS: [(f64, f64); 2] = [
    (-0.577_350_269_189_625_8, 1.0),
    (0.577_350_269_189_625_8, 1.0),
];
const FIVE_POINTS: [(f64, f64); 5] = [
    (-0.906_179_845_938_664, 0.236_926_885_056_189_1),
    (-0.538_469_310_105_683_1, 0.478_628_670_499_366_5),
    (0.0, 0.568_888_888_888_888_9),
    (0.538_469_310_105_683_1, 0.478_628_670_499_366_5),
    (0.906_179_845_938_664, 0.236_926_885_056_189_1),
];

/// Losses of one step in one direction: `mass[i]` is the probability of the loss
/// (`first` + i) `grid`, and `lost` that of an infinite loss.
#[derive(Debug, Clone)]
pub(super) struct StepLoss {
    pub(super) grid: f64,
    pub(super) first: i64,
    pub(super) mass: Vec<f64>,
    pub(super) lost: f64,
}

/// Both directions of one step.
#[derive(Debug, Clone)]
pub(super) struct StepLosses {
    /// From the fleet with the device to the one without it.
    pub(super) removal: StepLoss,
    /// From the fleet without the device to the one with it.
    pub(super) addition: StepLoss,
}

/// How many grid points the losses of a step span.
pub(super) fn width(step: &PoissonGaussian, grid: f64) -> f64 {
    let (first, last) = ends(step, grid);
    last - first + 1.0
}

/// The grid points around the losses at both ends of the noise, in units of the grid.
fn ends(step: &PoissonGaussian, grid: f64) -> (f64, f64) {
    let reach = REACH * step.noise_multiplier();
    let first = (loss_at(step, -reach) / grid).floor();
    let last = (loss_at(step, 1.0 + reach) / grid).ceil();
    (first, last)
}

/// L(x)
fn loss_at(step: &PoissonGaussian, x: f64) -> f64 {
    let (q, z) = (step.sampling_rate(), step.noise_multiplier());
    let y = (x - 0.5) / (z * z);
    if q == 1.0 {
        y
    } else if y > 700.0 {
        q.ln() + y
    } else {
        (q * y.exp_m1()).ln_1p()
    }
}

/// The x whose loss is `loss`, given e^loss - 1; -infinity for losses that don't occur.
fn noise_at(step: &PoissonGaussian, loss: f64, exp_m1: f64) -> f64 {
    let (q, z) = (step.sampling_rate(), step.noise_multiplier());
    let y = if q == 1.0 {
        loss
    } else if loss > 700.0 {
        loss - q.ln()
    } else {
        let odds = (exp_m1 + q) / q;
        if odds <= 0.0 {
            return f64::NEG_INFINITY;
        }
        odds.ln()
    };
    z * z * y + 0.5
}

/// Puts the losses of one step on a grid. The caller has checked [`width`].
pub(super) fn discretise(step: &PoissonGaussian, grid: f64) -> StepLosses {
    let (first, last) = ends(step, grid);
    let reach = REACH * step.noise_multiplier();
    let (left, right) = (-reach, 1.0 + reach);
    let mut mass = vec![0.0f64; (last - first) as usize + 1];
    let mut x = left;
    let mut below = first * grid;
    let mut below_exp_m1 = below.exp_m1();
    for cell in 0..mass.len() - 1 {
        let above = (first + cell as f64 + 1.0) * grid;
        let above_exp_m1 = above.exp_m1();
        let end = noise_at(step, above, above_exp_m1).clamp(x, right);
        let (low, high) = split(step, (x, end), below, below_exp_m1, grid);
        mass[cell] += low;
        mass[cell + 1] += high;
        (x, below, below_exp_m1) = (end, above, above_exp_m1);
    }
    let first = first as i64;
    let grid_mass = mass.iter().enumerate();
    let mirrored: Vec<f64> = grid_mass
        .map(|(cell, p)| p * (-(first + cell as i64) as f64 * grid).exp())
        .rev()
        .collect();
    let (q, z) = (step.sampling_rate(), step.noise_multiplier());
    // P beyond the right end is lost on removal; beyond the left end it joins the first loss above
    let lost = (1.0 - q) * upper_tail(right / z) + q * upper_tail(REACH);
    let joining = (1.0 - q) * upper_tail(REACH) + q * upper_tail((1.0 + reach) / z);
    let removal = StepLoss::new(grid, first, mass, lost, joining);
    let lost = upper_tail(REACH);
    let joining = upper_tail(right / z);
    let addition = StepLoss::new(grid, -(last as i64), mirrored, lost, joining);
    StepLosses { removal, addition }
}

/// The P-mass of noise in `range`, split between the grid points below and above its losses.
fn split(
    step: &PoissonGaussian,
    range: (f64, f64),
    below: f64,
    below_exp_m1: f64,
    grid: f64,
) -> (f64, f64) {
    let (q, z) = (step.sampling_rate(), step.noise_multiplier());
    let width = range.1 - range.0;
    if width <= 0.0 {
        return (0.0, 0.0);
    }
    let inverse_variance = 1.0 / (z * z);
    let upper_share = 1.0 / -(-grid).exp_m1();
    let nodes: &[(f64, f64)] = if width < 0.005 * z {
        &TWO_POINTS
    } else {
        &FIVE_POINTS
    };
    let pieces = (width / (0.25 * z)).ceil().max(1.0);
    let half = 0.5 * width / pieces;
    let density_scale = half / (z * (2.0 * std::f64::consts::PI).sqrt());
    let (mut total, mut high) = (0.0, 0.0);
    for piece in 0..pieces as u64 {
        let middle = range.0 + (2.0 * piece as f64 + 1.0) * half;
        for &(node, weight) in nodes {
            let x = middle + half * node;
            let y = (x - 0.5) * inverse_variance;
            let without = (-0.5 * x * x * inverse_variance).exp();
            let weight = weight * density_scale;
            if y < 600.0 && without > 1e-290 {
                let u = if y.abs() < 0.5 {
                    q * y.exp_m1()
                } else {
                    q * (y.exp() - 1.0)
                };
                total += weight * without * (1.0 + u);
                // P (1 - e^(l - L)) = Q (e^L - e^l)
                high += weight * without * (u - below_exp_m1) * upper_share;
            } else {
                let with = (-0.5 * (x - 1.0) * (x - 1.0) * inverse_variance).exp();
                let p = weight * ((1.0 - q) * without + q * with);
                total += p;
                high += p * -(below - loss_at(step, x)).exp_m1() * upper_share;
            }
        }
    }
    // rounding may leave the interval by a hair
    let high = high.clamp(0.0, total);
    (total - high, high)
}

impl StepLoss {
    /// `joining` is added to the second grid point; the finite masses are scaled to the share that is
    /// not lost, which removes the rounding of the quadrature.
    fn new(grid: f64, first: i64, mut mass: Vec<f64>, lost: f64, joining: f64) -> Self {
        let place = 1.min(mass.len() - 1);
        mass[place] += joining;
        let scale = (1.0 - lost) / mass.iter().sum::<f64>();
        for p in &mut mass {
            *p *= scale;
        }
        Self {
            grid,
            first,
            mass,
            lost,
        }
    }

    /// A step that nobody takes part in.
    pub(super) fn none(grid: f64) -> Self {
        Self {
            grid,
            first: 0,
            mass: vec![1.0],
            lost: 0.0,
        }
    }

    /// The largest finite loss.
    pub(super) fn largest(&self) -> f64 {
        (self.first + self.mass.len() as i64 - 1) as f64 * self.grid
    }

    /// ln E[e^(tilt L)] over the finite losses.
    pub(super) fn ln_moment(&self, tilt: f64) -> f64 {
        // Horner's rule within blocks short enough for the powers to stay in range, on eight
        // interleaved strands that don't wait for each other
        const BLOCK: usize = 256;
        const STRANDS: usize = 8;
        let ratio = (tilt * self.grid).exp();
        let strided = ratio.powi(STRANDS as i32);
        let mut sum = LogSum::EMPTY;
        for (block, masses) in self.mass.chunks(BLOCK).enumerate() {
            let (whole, rest) = masses.as_chunks::<STRANDS>();
            let mut strands = [0.0f64; STRANDS];
            for (strand, &p) in strands.iter_mut().zip(rest) {
                *strand = p;
            }
            for chunk in whole.iter().rev() {
                for (strand, p) in strands.iter_mut().zip(chunk) {
                    *strand = *strand * strided + p;
                }
            }
            let inner = strands.iter().rev().fold(0.0, |sum, p| sum * ratio + p);
            if inner > 0.0 {
                let start = (self.first + (block * BLOCK) as i64) as f64;
                sum.add(tilt * start * self.grid + inner.ln());
            }
        }
        sum.ln()
    }
}

/// P(N(0,1) > x)
pub(super) fn upper_tail(x: f64) -> f64 {
    0.5 * erfc(x / std::f64::consts::SQRT_2)
}
