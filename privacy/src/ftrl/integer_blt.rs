//! C^-1 z in integers, for a BLT.
//!
//! # What is computed
//! Seeds and noise live on a grid 2^8 finer than that of the sums, buffers on one
//! 2^8 finer than that. In every round and coordinate
//!
//! ```text
//! r = round(sum_m omega_m S_m)      to the fine grid
//! x = z - r                         the noise, exact
//! S_m <- round(theta_m S_m) + x     to the grid of the buffers
//! ```
//!
//! and the sum receives x rounded to its own grid. Writing G for the sums, G + x on the fine grid is
//! what the proof is about; the released G + round(x) is a function of it, because G is a multiple
//! of the coarse grid.
//!
//! # Why the integer sensitivity is what it says
//! Buffers are made from x alone, so r_t is some function of x_1..x_(t-1) and z -> x is a bijection
//! of integer vectors: a neighbour with other sums G' explains the outputs y by x' = y - G' and the
//! seeds z' = x' + r(x'). With D = G - G', x' - x = D and
//!
//! ```text
//! z'_t - z_t = D_t + r_t(x') - r_t(x) = (C D)_t + e_t,
//! e_t = (r_t(x') - L_t(x')) - (r_t(x) - L_t(x)),
//! ```
//!
//! where L_t(x) = sum_(s < t) c_(t-s) x_s is what r_t is without rounding and D_t + L_t(x') - L_t(x)
//! = (C D)_t. A bound |r_t - L_t| <= h per coordinate gives |e_t| <= 2 h, so over n rounds and d
//! coordinates |z' - z| <= sens B + 2 h sqrt(n d). The seeds are discrete Gaussian and the round's
//! d_t = z'_t - z_t is fixed by the earlier outputs, which is what the argument in `ftrl` needs.
//!
//! # The bound h (`slack` is 2 h)
//! In units of the buffers' grid, while |S_m| <= 2^62:
//! - theta and omega are held as multiples of 2^-63, off by at most 2^-64 each (theta < 1 is at most
//!   1 - 2^-53, so its multiple is below 2^63);
//! - hence theta S is off by 2^-64 2^62 = 1/4, its rounding by 1/2: below 1 per step. The error of
//!   S_m follows delta <- theta delta + 1, so it stays below g_m = sum_(j < n) theta_m^j;
//! - sum omega S is off by at most m / 4 + sum omega_m g_m, and its rounding to the fine grid by 1/2
//!   of that grid.
//!
//! # Why the buffers can't overflow
//! A buffer is a sum of seeds, with weights whose squares add up to at most the square of
//! `Blt::buffer_gain`, and of rounding errors. Discrete Gaussian seeds are sub-Gaussian with variance
//! proxy sigma^2 (Canonne, Kamath, Steinke 2020), so P(|sum| > 32 sigma gain) <= 2 e^-512 < 2^-737:
//! below 2^-685 for all buffers, 2^20 rounds and 2^26 coordinates together, far less than the chance
//! to guess the key of the noise. `largest_sigma` keeps 32 sigma gain below 2^61. Of the errors, at
//! most 2 h each, a buffer collects at most 2 h times 2 n (the inverse doubles at most, the buffer
//! adds up at most n): below 2^43 on the grid of the buffers for n = 2^20. The buffers of a neighbour
//! differ by one device's contributions, at most 2^44 on the grid of the sums and 2^60 here. So
//! |S_m| < 2^62 for both. Arithmetic saturates: beyond that nothing wraps or panics either.

use super::geometric::series;
use super::{Blt, FtrlError, MAX_BUFFERS};
use crate::noise::DiscreteGaussian;

/// Bits that seeds and noise have below the grid of the sums.
pub(super) const GRID_BITS: u32 = 8;
/// Bits that buffers have below the grid of the seeds.
const BUFFER_BITS: u32 = 8;
/// Fraction bits of theta and omega.
const PARAMETER_BITS: u32 = 63;
/// Widest seed noise on the fine grid that the sampler draws.
const LARGEST_SAMPLED: f64 = (1u64 << 40) as f64;

/// The parameters in fixed point.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct IntegerBlt {
    theta: Vec<i64>,
    omega: Vec<i64>,
}

impl IntegerBlt {
    pub(super) fn new(blt: &Blt) -> Self {
        // 2^63 times a double below 1 is exact, and its rounding is below 2^63
        let fixed = |values: &[f64]| {
            let scale = (1u64 << PARAMETER_BITS) as f64;
            values
                .iter()
                .map(|value| (value * scale).round() as i64)
                .collect()
        };
        Self {
            theta: fixed(blt.theta()),
            omega: fixed(blt.omega()),
        }
    }

    /// One round: `noise` holds the seeds on the fine grid and becomes the noise on that grid.
    /// `buffers` are the slices of the buffers for the same coordinates.
    pub(super) fn step(&self, noise: &mut [i64], buffers: &mut [&mut [i64]]) {
        match buffers.len() {
            1 => self.step_all::<1>(noise, buffers),
            2 => self.step_all::<2>(noise, buffers),
            3 => self.step_all::<3>(noise, buffers),
            4 => self.step_all::<4>(noise, buffers),
            _ => self.step_all::<MAX_BUFFERS>(noise, buffers),
        }
    }

    /// The loop for at most N buffers, which live in registers; missing ones stay zero.
    fn step_all<const N: usize>(&self, noise: &mut [i64], buffers: &mut [&mut [i64]]) {
        let padded = |values: &[i64]| -> [i64; N] {
            std::array::from_fn(|m| values.get(m).copied().unwrap_or(0))
        };
        let (theta, omega) = (padded(&self.theta), padded(&self.omega));
        for (index, seed) in noise.iter_mut().enumerate() {
            let mut held = [0i64; N];
            for (held, buffer) in held.iter_mut().zip(buffers.iter()) {
                *held = buffer[index];
            }
            // |sum| <= 2^63 (2^63 sum omega + m / 2) < 2^127
            let taken = held
                .iter()
                .zip(&omega)
                .map(|(&held, &omega)| i128::from(omega) * i128::from(held))
                .sum();
            *seed = seed.saturating_sub(shift(taken, PARAMETER_BITS + BUFFER_BITS));
            let emitted = seed.saturating_mul(1 << BUFFER_BITS);
            let kept = held.iter().zip(&theta);
            for (buffer, (&held, &theta)) in buffers.iter_mut().zip(kept) {
                let kept = shift(i128::from(theta) * i128::from(held), PARAMETER_BITS);
                buffer[index] = kept.saturating_add(emitted);
            }
        }
    }
}

/// From the fine grid to that of the sums, to the nearest.
#[inline]
pub(super) fn coarse(noise: i64) -> i64 {
    noise.saturating_add(1 << (GRID_BITS - 1)) >> GRID_BITS
}

/// value / 2^bits to the nearest integer; the callers' values leave room for the half.
#[inline]
fn shift(value: i128, bits: u32) -> i64 {
    // products of two 63-bit numbers over 2^63 or more fit 64 bits
    ((value + (1 << (bits - 1))) >> bits) as i64
}

/// The seed noise on the fine grid: sigma 2^8, rounded up to an integer.
pub(super) fn fine_seed_noise(
    seed_noise: &DiscreteGaussian,
    largest: u64,
) -> Result<DiscreteGaussian, FtrlError> {
    let refused = FtrlError::SigmaTooLarge {
        sigma: seed_noise.sigma(),
        largest,
    };
    let (numerator, denominator) = seed_noise.ratio();
    let fine = (u128::from(numerator) << GRID_BITS).div_ceil(u128::from(denominator));
    if fine > u128::from(largest) << GRID_BITS {
        return Err(refused);
    }
    let fine = u64::try_from(fine).map_err(|_| refused.clone())?;
    DiscreteGaussian::new(fine).map_err(|_| refused)
}

/// 2 h of the proof, in units of the sums' grid, for runs of `rounds` rounds.
pub(super) fn slack(blt: &Blt, rounds: u32) -> f64 {
    let buffers = blt.theta().iter().zip(blt.omega());
    let kept: f64 = buffers
        .map(|(&theta, omega)| omega * series(theta, rounds))
        .sum();
    let buffer_unit = 2.0f64.powi(-((GRID_BITS + BUFFER_BITS) as i32));
    let fine_unit = 2.0f64.powi(-(GRID_BITS as i32));
    2.0 * (buffer_unit * (blt.buffers() as f64 / 4.0 + kept) + 0.5 * fine_unit)
}

/// Largest sigma, in units of the sums' grid, for which the proof holds; may be below 1 for
/// parameters at the edge of what is valid.
pub(super) fn largest_sigma(blt: &Blt) -> u64 {
    let buffers = 2.0f64.powi(61) / (32.0 * blt.buffer_gain());
    let fine = buffers / f64::from(1u32 << BUFFER_BITS);
    (fine.min(LARGEST_SAMPLED) / f64::from(1u32 << GRID_BITS)) as u64
}
