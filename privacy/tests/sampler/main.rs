//! The distributions of the samplers, tested on samples and against OpenDP.
//!
//! Our own samplers run on fixed seeds. `chi_square` states how rarely chance fails a test.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test by panicking"
)]

mod chi_square;
mod gaussian;
mod independence;
mod laplace;
mod large_scales;
mod opendp;
mod streams;
mod tails;

use tributary_privacy::{DiscreteGaussian, DiscreteLaplace, GaussianTable, NoiseSource};

/// One of the samplers under test.
#[derive(Debug, Clone)]
enum Sampler {
    Gaussian(DiscreteGaussian),
    Table(Box<GaussianTable>),
    Laplace(DiscreteLaplace),
}

impl Sampler {
    fn gaussian(numerator: u64, denominator: u64) -> Self {
        Self::Gaussian(DiscreteGaussian::from_ratio(numerator, denominator).unwrap())
    }

    fn table(sigma: u64) -> Self {
        let gaussian = DiscreteGaussian::new(sigma).unwrap();
        Self::Table(Box::new(GaussianTable::new(&gaussian).unwrap()))
    }

    fn laplace(numerator: u64, denominator: u64) -> Self {
        Self::Laplace(DiscreteLaplace::from_ratio(numerator, denominator).unwrap())
    }

    /// Sigma, or b.
    fn scale(&self) -> f64 {
        match self {
            Self::Gaussian(gaussian) => gaussian.sigma(),
            Self::Table(table) => table.gaussian().sigma(),
            Self::Laplace(laplace) => laplace.scale(),
        }
    }

    /// P(x) / P(0)
    fn weight(&self, x: i64) -> f64 {
        let scaled = x as f64 / self.scale();
        match self {
            Self::Gaussian(_) | Self::Table(_) => (-scaled * scaled / 2.0).exp(),
            Self::Laplace(_) => (-scaled.abs()).exp(),
        }
    }

    /// Integers beyond this hold less than 10^-15 of the mass.
    fn reach(&self) -> i64 {
        let scales = match self {
            Self::Gaussian(_) | Self::Table(_) => 9.0,
            Self::Laplace(_) => 40.0,
        };
        (scales * self.scale()).ceil() as i64 + 1
    }

    fn name(&self) -> String {
        let kind = match self {
            Self::Gaussian(_) => "Gaussian",
            Self::Table(_) => "table",
            Self::Laplace(_) => "Laplace",
        };
        format!("{kind} of scale {}", self.scale())
    }

    fn samples(&self, count: usize, seed: u8) -> Vec<i64> {
        let mut values = vec![0; count];
        self.add_noise(&mut values, &mut NoiseSource::seeded([seed; 32]));
        values
    }

    fn add_noise(&self, values: &mut [i64], source: &mut NoiseSource) {
        match self {
            Self::Gaussian(gaussian) => gaussian.add_noise(values, source),
            Self::Table(table) => table.add_noise(values, source),
            Self::Laplace(laplace) => laplace.add_noise(values, source),
        }
    }

    fn add_noise_on_this_thread(&self, values: &mut [i64], source: &mut NoiseSource) {
        match self {
            Self::Gaussian(gaussian) => gaussian.add_noise_on_this_thread(values, source),
            Self::Table(table) => table.add_noise_on_this_thread(values, source),
            Self::Laplace(laplace) => laplace.add_noise_on_this_thread(values, source),
        }
    }
}
