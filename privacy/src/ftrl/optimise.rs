//! The BLT with the least noise for given participation limits.
//!
//! The search is over interlaced poles and zeros (see `interlaced`), where every point is valid, in
//! the logits of both: the smallest logit and the logarithms of the gaps. The loss is smooth there
//! and has a closed form of O(m^2 log n) positive terms, so a quasi-Newton search from a few fixed
//! starts takes milliseconds whatever n is.

use super::geometric::series;
use super::interlaced::weights;
use super::minimise::minimise;
use super::sensitivity::blt_squared_sensitivity;
use super::{Blt, FtrlError, Participation};

/// Most buffers tried.
const MOST_BUFFERS: usize = 4;
/// A buffer more must pay for its memory by at least this part of the loss.
const WORTHWHILE: f64 = 0.0025;
/// Below this relative gain over fresh noise there is nothing to optimise.
const NO_GAIN: f64 = 1e-4;
/// Bounds on the logarithm of a gap between logits.
const GAPS: (f64, f64) = (-12.0, 3.0);
/// Smallest logit.
const LOWEST: f64 = -16.0;
/// Largest logit beyond ln n: no theta decays by less than 0.7 % over the run, since the last bit of
/// gain there would cost range in the buffers.
const BEYOND_ROUNDS: f64 = 5.0;

/// Poles and zeros, as numbers and as their distances from 1.
struct Interlaced {
    hats: Vec<f64>,
    hat_distances: Vec<f64>,
    theta: Vec<f64>,
    distances: Vec<f64>,
}

impl Interlaced {
    fn new(variables: &[f64], participation: &Participation) -> Self {
        let highest = f64::from(participation.rounds).ln() + BEYOND_ROUNDS;
        let mut logit = 0.0;
        let mut split = Self {
            hats: Vec::with_capacity(MOST_BUFFERS),
            hat_distances: Vec::with_capacity(MOST_BUFFERS),
            theta: Vec::with_capacity(MOST_BUFFERS),
            distances: Vec::with_capacity(MOST_BUFFERS),
        };
        for (index, &variable) in variables.iter().enumerate() {
            logit = if index == 0 {
                variable.clamp(LOWEST, highest)
            } else {
                logit + variable.clamp(GAPS.0, GAPS.1).exp()
            };
            let distance = 1.0 / (1.0 + logit.min(highest).exp());
            let (values, distances) = if index % 2 == 0 {
                (&mut split.hats, &mut split.hat_distances)
            } else {
                (&mut split.theta, &mut split.distances)
            };
            values.push(1.0 - distance);
            distances.push(distance);
        }
        split
    }

    fn omega(&self) -> Vec<f64> {
        // a - b as (1 - b) - (1 - a), which keeps the digits of places near 1
        weights(&self.distances, &self.hat_distances, |a, b| b - a)
    }

    /// Logarithm of the squared loss.
    ///
    /// The prefix sums of the inverse coefficients are p_s = R_0 + sum_m R_m hat_m^s with R_0 =
    /// 1 / C(1) and R_m = prod_i (hat_m - theta_i) / ((hat_m - 1) prod_(i != m) (hat_m - hat_i)),
    /// all positive by interlacing; the error is the sum of their squares.
    fn loss(&self, participation: &Participation) -> f64 {
        let omega = self.omega();
        let hats = &self.hat_distances;
        let ratio = self
            .distances
            .iter()
            .zip(hats)
            .map(|(pole, hat)| pole / hat);
        let mut places = vec![1.0];
        let mut parts = vec![ratio.product::<f64>()];
        for (m, &hat) in hats.iter().enumerate() {
            let above: f64 = self.distances.iter().map(|pole| pole - hat).product();
            let others = hats.iter().enumerate().filter(|&(i, _)| i != m);
            let below: f64 = others.map(|(_, other)| other - hat).product();
            places.push(self.hats[m]);
            parts.push(above / (-hat * below));
        }
        let mut error = 0.0;
        for (i, part) in parts.iter().enumerate() {
            for (j, other) in parts.iter().enumerate().skip(i) {
                let term = part * other * series(places[i] * places[j], participation.rounds);
                error += if i == j { term } else { 2.0 * term };
            }
        }
        let loss = error.ln() + blt_squared_sensitivity(&self.theta, &omega, participation).ln();
        // gaps that vanish in floats: no point to stay at
        if loss.is_finite() {
            loss
        } else {
            f64::MAX.ln()
        }
    }
}

impl Blt {
    /// The BLT of 1 to 4 buffers with the least [`Blt::max_loss`] under the limits; the fewest
    /// buffers that come within 0.25 % of the best.
    ///
    /// Deterministic on one machine; logarithms may differ in the last place on another, so store the
    /// answer with the run. Where nothing beats fresh noise in every round (a device may join nearly every
    /// round), the answer is valid but as good as no correlation: [`Blt::gain`] is 1 then.
    ///
    /// # Errors
    /// [`FtrlError::BadParticipation`].
    pub fn optimise(participation: &Participation) -> Result<Self, FtrlError> {
        participation.validate()?;
        let loss =
            |variables: &[f64]| Interlaced::new(variables, participation).loss(participation);
        let independent = 2.0 * participation.independent_max_loss().ln();
        let mut candidates: Vec<(Self, f64)> = Vec::with_capacity(MOST_BUFFERS);
        let mut previous: Option<Vec<f64>> = None;
        for buffers in 1..=MOST_BUFFERS {
            let mut best: Option<(Vec<f64>, f64)> = None;
            for start in starts(buffers, participation, previous.as_deref()) {
                let found = minimise(loss, start);
                if best.as_ref().is_none_or(|(_, value)| found.1 < *value) {
                    best = Some(found);
                }
            }
            let Some((variables, value)) = best else {
                continue;
            };
            let places = Interlaced::new(&variables, participation);
            if let Ok(blt) = Self::new(places.theta.clone(), places.omega()) {
                candidates.push((blt, value));
            }
            previous = Some(variables);
        }
        let least = candidates
            .iter()
            .fold(f64::INFINITY, |least, c| least.min(c.1));
        if least > independent + 2.0 * (-NO_GAIN).ln_1p() {
            return Self::new(vec![0.5], vec![1e-6]);
        }
        let enough = least + 2.0 * WORTHWHILE.ln_1p();
        let chosen = candidates.into_iter().find(|(_, value)| *value <= enough);
        chosen.map_or_else(|| Self::new(vec![0.5], vec![1e-6]), |(blt, _)| Ok(blt))
    }
}

/// Points spread evenly over the scales of the run, and the best with one buffer less with its
/// widest gap split.
fn starts(
    buffers: usize,
    participation: &Participation,
    previous: Option<&[f64]>,
) -> Vec<Vec<f64>> {
    let rounds = f64::from(participation.rounds).ln() + 0.5;
    let separation = f64::from(participation.separation).ln() + 0.5;
    let count = 2 * buffers;
    let mut starts = Vec::new();
    for top in [rounds, separation.min(rounds - 0.5), 0.5 * rounds] {
        for bottom in [-1.5, 0.5] {
            let gap = ((top - bottom) / (count - 1) as f64).max(0.05);
            let mut start = vec![gap.ln(); count];
            start[0] = bottom;
            starts.push(start);
        }
    }
    if let Some(previous) = previous {
        let widest = (1..previous.len()).fold(1, |widest, index| {
            if previous[index] > previous[widest] {
                index
            } else {
                widest
            }
        });
        let mut start = previous.to_vec();
        let third = previous[widest] - 3.0f64.ln();
        start.splice(widest..=widest, [third; 3]);
        starts.push(start);
    }
    starts
}
