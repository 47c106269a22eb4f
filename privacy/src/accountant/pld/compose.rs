//! Many equal steps: the distribution of the sum of their losses around the epsilon that is asked for.
//!
//! Losses are tilted by e^(theta l) first, with theta such that the epsilon in question is where most
//! of the tilted mass lies (as in a saddle-point approximation, but exact: the tilt is undone
//! afterwards). The Fourier transform then keeps its relative accuracy however small delta is, and
//! a window of some deviations around that epsilon is enough.
//!
//! Everything that is cut or rounded counts against the claim: mass outside the window wraps around
//! into it and only adds; mass above it is bounded by Chernoff and added to delta as well; so is the
//! rounding of the transform, as a floor under every cell.

use std::ops::Range;

use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

use super::discretise::StepLoss;

/// The largest window, in grid points: some 50 MiB of work space.
pub(super) const MOST_POINTS: f64 = (1u64 << 21) as f64;

/// ln of the share of delta that may lie above the window.
const LN_ABOVE: f64 = -16.0;

/// ln of the tilted mass that may wrap around into the window from either side.
const LN_WRAPPED: f64 = -20.0;

/// A frequency whose power has a smaller logarithm is dropped.
const LN_DROPPED: f64 = -80.0;

/// The largest tilt, per grid step: with more, single cells would hold everything.
const LARGEST_TILT: f64 = 0.5;

/// The window would not fit; the grid must be this much coarser.
pub(super) struct TooWide {
    pub(super) factor: f64,
}

/// Tilted masses of the summed loss: the loss (`first` + j) `grid` has probability
/// e^(`ln_scale` - `tilt` loss) `mass[j]`, at most.
pub(super) struct Window {
    grid: f64,
    first: i64,
    mass: Vec<f64>,
    tilt: f64,
    ln_scale: f64,
}

impl StepLoss {
    /// The tilt at which the Chernoff bound of the summed loss is least: of epsilon at a delta,
    /// (T k(tilt) - ln delta) / tilt. Any tilt gives a valid result.
    pub(super) fn tilt_for_delta(&self, steps: f64, ln_delta: f64) -> f64 {
        self.least_over_tilts(|tilt| (steps * self.ln_moment(tilt) - ln_delta) / tilt)
    }

    /// The same of delta at an epsilon: T k(tilt) - tilt epsilon.
    pub(super) fn tilt_for_epsilon(&self, steps: f64, epsilon: f64) -> f64 {
        self.least_over_tilts(|tilt| steps * self.ln_moment(tilt) - tilt * epsilon)
    }

    /// Golden-section search over the logarithm of the tilt, to a few per cent.
    fn least_over_tilts(&self, value: impl Fn(f64) -> f64) -> f64 {
        let golden = 0.5 * (5.0f64.sqrt() - 1.0);
        let (mut low, mut high) = (1e-4f64.ln(), (LARGEST_TILT / self.grid).ln());
        let at = |x: f64| value(x.exp());
        let (mut left, mut right) = (high - golden * (high - low), low + golden * (high - low));
        let (mut at_left, mut at_right) = (at(left), at(right));
        while high - low > 0.05 {
            if at_left <= at_right {
                (high, right, at_right) = (right, left, at_left);
                left = high - golden * (high - low);
                at_left = at(left);
            } else {
                (low, left, at_left) = (left, right, at_right);
                right = low + golden * (high - low);
                at_right = at(right);
            }
        }
        (0.5 * (low + high)).exp()
    }

    /// A loss that the sum passes with probability e^`ln_mass` at most, by Chernoff.
    pub(super) fn rarely_passed(&self, steps: f64, tilt: f64, ln_mass: f64) -> f64 {
        let bound = |tilt: f64| (steps * self.ln_moment(tilt) - ln_mass) / tilt;
        [1.0, 1.25, 1.6, 2.0, 2.6, 3.5]
            .into_iter()
            .map(|times| bound(times * tilt))
            .fold(steps * self.largest(), f64::min)
    }

    /// The losses that the tilted sum rarely falls below and rarely passes.
    fn tilted_range(&self, steps: f64, tilt: f64) -> (f64, f64) {
        let here = self.ln_moment(tilt);
        // the deviation of the tilted sum from the curvature, to choose how far to tilt on
        let nearby = 0.1 * tilt;
        let up = self.ln_moment(tilt + nearby);
        let down = self.ln_moment(tilt - nearby);
        let variance = steps * (up - 2.0 * here + down) / (nearby * nearby);
        let deviation = variance.max(self.grid * self.grid).sqrt();
        let bound = |on: f64| (steps * (self.ln_moment(tilt + on) - here) - LN_WRAPPED) / on;
        let smallest = steps * self.first as f64 * self.grid;
        let mut range = (smallest, steps * self.largest());
        // Chernoff with tilts of either sign
        let by_deviation = [2.0, 4.0, 6.3, 8.0].map(|times| times / deviation);
        let by_tilt = [0.1, 0.25, 0.6, 1.5].map(|times| times * tilt);
        for on in by_deviation.into_iter().chain(by_tilt) {
            range = (range.0.max(bound(-on)), range.1.min(bound(on)));
        }
        range
    }

    /// The window of the sum of `steps` losses that reaches from `lowest` or lower to `top` or higher.
    pub(super) fn compose(
        &self,
        steps: u64,
        tilt: f64,
        lowest: Option<f64>,
        top: f64,
    ) -> Result<Window, TooWide> {
        let count = steps as f64;
        let (mut bottom, high) = self.tilted_range(count, tilt);
        if let Some(lowest) = lowest {
            bottom = bottom.min(lowest);
        }
        let top = top.max(high);
        let first = (bottom / self.grid).floor();
        let points = (top / self.grid).ceil() - first + 1.0;
        if !(..=MOST_POINTS).contains(&points) {
            let factor = points / MOST_POINTS;
            return Err(TooWide { factor });
        }
        let size = transform_size((points.max(1.0) as usize).max(64));
        let ln_moment = self.ln_moment(tilt);
        let mut folded = vec![0.0f64; size];
        for (index, &p) in self.mass.iter().enumerate() {
            if p > 0.0 {
                let loss = (self.first + index as i64) as f64 * self.grid;
                folded[index % size] += p * (tilt * loss - ln_moment).exp();
            }
        }
        let error = power(&mut folded, steps);
        // the cell of total index n holds the sum's index n - T first, modulo the size
        let first = first as i64;
        let start = i128::from(first) - i128::from(steps) * i128::from(self.first);
        folded.rotate_left(start.rem_euclid(size as i128) as usize);
        for mass in &mut folded {
            *mass = mass.max(0.0) + error;
        }
        Ok(Window {
            grid: self.grid,
            first,
            mass: folded,
            tilt,
            ln_scale: count * ln_moment,
        })
    }
}

/// Replaces `masses` by their `steps`-fold cyclic convolution; returns a bound of the rounding error
/// in every cell. The masses sum to 1.
fn power(masses: &mut [f64], steps: u64) -> f64 {
    let size = masses.len();
    let mut planner = RealFftPlanner::<f64>::new();
    let forward = planner.plan_fft_forward(size);
    let inverse = planner.plan_fft_inverse(size);
    let norm = masses.iter().map(|p| p * p).sum::<f64>().sqrt();
    let mut spectrum = forward.make_output_vec();
    // both calls fail on wrong lengths only, and on an imaginary part that is cleared below
    let _ = forward.process(masses, &mut spectrum);
    let mut errors = Rounding::new(size, steps, norm);
    let least = if steps == 1 {
        0.0
    } else {
        (LN_DROPPED / steps as f64).exp()
    };
    let mut dropped = 0usize;
    for value in &mut spectrum {
        let squared = value.norm_sqr();
        if squared < least * least {
            *value = Complex::new(0.0, 0.0);
            dropped += 1;
            continue;
        }
        *value = complex_power(*value, steps);
        errors.add(squared.sqrt(), value.norm());
    }
    errors.add_dropped(least, dropped);
    spectrum[0].im = 0.0;
    if let Some(last) = spectrum.last_mut() {
        last.im = 0.0;
    }
    let _ = inverse.process(&mut spectrum, masses);
    let scale = 1.0 / size as f64;
    for mass in masses.iter_mut() {
        *mass *= scale;
    }
    errors.bound()
}

/// The rounding of a power taken through two transforms.
///
/// A transform of n = 2^l points errs in each output by at most about l roundings of the sum of all
/// inputs, and in the Euclidean norm by about l roundings of the norm (Higham 2002, theorem 24.2,
/// taken twice as large). An error of X becomes T |X|^(T - 1) times as large in X^T, to which the
/// multiplications add T roundings. The smaller of both kinds of bound is taken for each transform.
struct Rounding {
    size: f64,
    steps: f64,
    norm: f64,
    relative: f64,
    /// Sum of |X|^(T - 1), and of its squares.
    magnified: (f64, f64),
    /// Sum of |X|^T, and of its squares.
    powers: (f64, f64),
}

impl Rounding {
    fn new(size: usize, steps: u64, norm: f64) -> Self {
        let size = size as f64;
        Self {
            size,
            steps: steps as f64,
            norm,
            relative: f64::EPSILON * (6.0 * size.log2() + 8.0),
            magnified: (0.0, 0.0),
            powers: (0.0, 0.0),
        }
    }

    /// One kept frequency, which stands for itself and its mirror.
    fn add(&mut self, magnitude: f64, power: f64) {
        let magnified = power / magnitude.max(f64::MIN_POSITIVE);
        self.magnified.0 += 2.0 * magnified;
        self.magnified.1 += 2.0 * magnified * magnified;
        self.powers.0 += 2.0 * power;
        self.powers.1 += 2.0 * power * power;
    }

    /// Frequencies that were dropped for being smaller than `least`.
    fn add_dropped(&mut self, least: f64, dropped: usize) {
        let magnified = (least + self.relative).powf(self.steps - 1.0);
        let twice = 2.0 * dropped as f64;
        self.magnified.0 += twice * magnified;
        self.magnified.1 += twice * magnified * magnified;
    }

    fn bound(&self) -> f64 {
        let root = self.size.sqrt();
        let forward =
            (self.magnified.0 / self.size).min(self.norm * self.magnified.1.sqrt() / root);
        let inverse = (self.powers.0 / self.size).min(self.powers.1.sqrt() / root);
        let powering = self.relative + 4.0 * f64::EPSILON * self.steps;
        self.steps * self.relative * forward + powering * inverse + LN_DROPPED.exp()
    }
}

fn complex_power(mut base: Complex<f64>, mut exponent: u64) -> Complex<f64> {
    let mut result = Complex::new(1.0, 0.0);
    while exponent > 1 {
        if exponent & 1 == 1 {
            result *= base;
        }
        base *= base;
        exponent >>= 1;
    }
    result * base
}

/// The least even 2^a or 3 2^a that holds `points`.
fn transform_size(points: usize) -> usize {
    let power = points.next_power_of_two();
    let three_quarters = power / 4 * 3;
    if three_quarters >= points {
        three_quarters
    } else {
        power
    }
}

impl Window {
    /// The least loss in the window.
    pub(super) fn bottom(&self) -> f64 {
        self.first as f64 * self.grid
    }

    /// Tilted sums over the points from `cells.start` on, given those from `cells.end` on: of
    /// c e^(-tilt (l - l_start)), and of the same times e^(-(l - l_start)).
    fn extend(&self, mut sums: (f64, f64), cells: Range<usize>) -> (f64, f64) {
        let first = (-self.tilt * self.grid).exp();
        let second = first * (-self.grid).exp();
        for mass in self.mass[cells].iter().rev() {
            sums = (mass + sums.0 * first, mass + sums.1 * second);
        }
        sums
    }

    /// ln of sum_{l > epsilon} P(l) (1 - e^(epsilon - l)); `epsilon` not below the window.
    pub(super) fn ln_delta(&self, epsilon: f64) -> f64 {
        let start = (epsilon / self.grid).floor() as i64 + 1 - self.first;
        let start = (start.max(0) as usize).min(self.mass.len());
        let sums = self.extend((0.0, 0.0), start..self.mass.len());
        let lowest = (self.first + start as i64) as f64 * self.grid;
        self.ln_above(sums, lowest, epsilon)
    }

    /// ln delta at `epsilon`, given the sums from the loss `lowest` on, the least above `epsilon`.
    fn ln_above(&self, sums: (f64, f64), lowest: f64, epsilon: f64) -> f64 {
        let difference = sums.0 - (epsilon - lowest).exp() * sums.1;
        self.ln_scale - self.tilt * lowest + difference.ln()
    }

    /// The least epsilon in the window whose delta is at most e^`ln_delta`; `None` when that lies
    /// below the window.
    pub(super) fn epsilon(&self, ln_delta: f64) -> Option<f64> {
        // strides down to the one in which delta passes the target, then single cells
        const STRIDE: usize = 64;
        let mut sums = (0.0, 0.0);
        let mut cell = self.mass.len();
        while cell > STRIDE {
            let further = self.extend(sums, cell - STRIDE..cell);
            let lowest = (self.first + (cell - STRIDE) as i64) as f64 * self.grid;
            if self.ln_above(further, lowest, lowest - self.grid) > ln_delta {
                break;
            }
            (sums, cell) = (further, cell - STRIDE);
        }
        while cell > 1 {
            sums = self.extend(sums, cell - 1..cell);
            cell -= 1;
            let lowest = (self.first + cell as i64) as f64 * self.grid;
            if self.ln_above(sums, lowest, lowest - self.grid) > ln_delta {
                // between two grid points delta is a - b e^epsilon
                let wanted = (ln_delta - self.ln_scale + self.tilt * lowest).exp();
                let ratio = (sums.0 - wanted) / sums.1;
                let epsilon = lowest + ratio.max(f64::MIN_POSITIVE).ln();
                return Some(epsilon.clamp(lowest - self.grid, lowest));
            }
        }
        None
    }
}

/// ln of the share of delta that [`StepLoss::rarely_passed`] should be asked for.
pub(super) fn ln_above(ln_delta: f64) -> f64 {
    ln_delta + LN_ABOVE
}
