//! A simulated fleet: multinomial votes with rounded Gaussian noise, from a fixed seed.
#![allow(dead_code)] // each test file uses its own part of it

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use tributary_drift::{Histogram, Quantity};

/// Seeded source of votes and noise.
pub struct Fleet {
    rng: ChaCha8Rng,
}

impl Fleet {
    pub fn new(seed: u64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// Uniform on (0, 1].
    pub fn uniform(&mut self) -> f64 {
        ((self.rng.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Votes of `devices` devices with these shares (they add up to 1).
    pub fn votes(&mut self, shares: &[f64], devices: u64) -> Vec<i64> {
        let mut counts = vec![0_i64; shares.len()];
        for _ in 0..devices {
            let mut left = self.uniform();
            let hit = shares.iter().position(|share| {
                left -= share;
                left <= 0.0
            });
            counts[hit.unwrap_or(shares.len() - 1)] += 1;
        }
        counts
    }

    /// The same votes with noise of standard deviation `sigma`, rounded: its variance is
    /// `sigma^2 + 1/12`.
    pub fn window(
        &mut self,
        quantity: &Quantity,
        shares: &[f64],
        devices: u64,
        sigma: f64,
    ) -> Histogram {
        let mut counts = self.votes(shares, devices);
        if sigma == 0.0 {
            return Histogram::new(quantity, counts, devices, 0.0).unwrap();
        }
        counts
            .iter_mut()
            .for_each(|count| *count += (sigma * self.normal()).round() as i64);
        Histogram::new(quantity, counts, devices, sigma * sigma + 1.0 / 12.0).unwrap()
    }

    /// As [`Fleet::window`], with a device count that is private.
    pub fn private_window(
        &mut self,
        quantity: &Quantity,
        shares: &[f64],
        devices: u64,
        sigma: f64,
    ) -> Histogram {
        let open = self.window(quantity, shares, devices, sigma);
        Histogram::with_private_devices(quantity, open.counts().to_vec(), open.noise_variance())
            .unwrap()
    }
}

/// Shares that fall from bin to bin by a constant factor, so that some bins are rare; none is missing.
pub fn falling(bins: usize, factor: f64) -> Vec<f64> {
    let raw: Vec<f64> = (0..bins - 1).map(|bin| factor.powi(bin as i32)).collect();
    let sum: f64 = raw.iter().sum();
    raw.iter().map(|share| share / sum).chain([0.0]).collect()
}
