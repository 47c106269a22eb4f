//! What canaries send, and how much of it is released.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use tributary_privacy::SCALE;
use tributary_report::audit::CanaryScore;

use crate::audit::device::{Act, Scripted};
use crate::audit::grid::{unit, values_of};
use crate::audit::pipeline::Trace;
use crate::runner::derived_seed;

/// The canaries of an audit.
pub(crate) struct Canaries {
    /// By canary: whether it takes part.
    included: Vec<bool>,
    /// By parameter: 1 or -1.
    signs: Vec<i32>,
    /// Parameters of each canary.
    block: usize,
}

impl Canaries {
    /// Tosses the coins of `count` canaries and draws directions over `dimension` parameters.
    pub(crate) fn draw(seed: u64, count: usize, dimension: usize) -> Self {
        let mut coins = ChaCha20Rng::from_seed(derived_seed(seed, "audit coins"));
        let mut signs = ChaCha20Rng::from_seed(derived_seed(seed, "audit directions"));
        Self {
            included: (0..count).map(|_| unit(&mut coins) < 0.5).collect(),
            signs: (0..dimension)
                .map(|_| if unit(&mut signs) < 0.5 { 1 } else { -1 })
                .collect(),
            block: dimension / count,
        }
    }

    /// The payload of a canary: the clip, spread over its own parameters.
    fn payload(&self, canary: usize, clip: f32) -> Vec<f32> {
        let step = (SCALE as f64 / (self.block as f64).sqrt()).floor() as i32;
        let mut steps = vec![0; self.signs.len()];
        let own = canary * self.block..(canary + 1) * self.block;
        for (place, sign) in steps[own.clone()].iter_mut().zip(&self.signs[own]) {
            *place = step * sign;
        }
        values_of(&steps, clip)
    }

    /// What each canary does: sends its payload where it takes part, else stays away.
    pub(crate) fn devices(&self, clip: f32) -> Vec<Scripted> {
        let device = |(canary, included): (usize, &bool)| {
            if !included {
                return Scripted::new(|_| Act::StayAway);
            }
            let payload = self.payload(canary, clip);
            Scripted::new(move |_| Act::Send(payload.clone()))
        };
        self.included.iter().enumerate().map(device).collect()
    }

    /// How much of each canary's direction the steps of all rounds hold.
    pub(crate) fn scores(&self, trace: &Trace) -> Vec<CanaryScore> {
        let mut total = vec![0.0; self.signs.len()];
        for index in 0..trace.rounds.len() {
            for (total, step) in total.iter_mut().zip(trace.step(index)) {
                *total += step;
            }
        }
        let length = (self.block as f64).sqrt();
        let score = |(canary, included): (usize, &bool)| {
            let own = canary * self.block..(canary + 1) * self.block;
            let products = total[own.clone()].iter().zip(&self.signs[own]);
            let held: f64 = products.map(|(step, sign)| step * f64::from(*sign)).sum();
            CanaryScore {
                included: *included,
                score: held / length,
            }
        };
        self.included.iter().enumerate().map(score).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canaries_are_orthogonal_and_as_long_as_the_clip_allows() {
        let canaries = Canaries::draw(1, 7, 508);
        let payloads: Vec<Vec<f32>> = (0..7).map(|canary| canaries.payload(canary, 0.5)).collect();
        for (index, payload) in payloads.iter().enumerate() {
            let product = |other: &Vec<f32>| -> f64 {
                let pairs = payload.iter().zip(other);
                pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            let norm = product(payload).sqrt();
            assert!((0.4999..=0.5).contains(&norm), "{norm}");
            let others = payloads
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index);
            assert!(
                others
                    .map(|(_, other)| product(other))
                    .all(|product| product == 0.0)
            );
        }
    }
}
