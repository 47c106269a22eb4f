//! The faster of two ways to the same Gaussian.

use super::{DiscreteGaussian, GaussianTable, NoiseSource};

/// From this many values on a table is worth making.
const LONG: usize = 1_024;

/// A discrete Gaussian, by table where there is one and enough values follow: about 13 instead of 69
/// ns a value, the same distribution, other bits for the same key. Whoever noises one vector in parts
/// makes one of these for all of it, so that every part is drawn in the same way.
#[derive(Debug, Clone)]
pub enum FastestGaussian {
    /// By rejection from a table of steps.
    Table(Box<GaussianTable>),
    /// By the exact sampler itself.
    Direct(DiscreteGaussian),
}

impl FastestGaussian {
    /// For so many values in all. Whether a table is used depends on them and on sigma alone, so that a
    /// key gives the same bits again.
    pub fn new(gaussian: &DiscreteGaussian, values: usize) -> Self {
        let table = match values {
            LONG.. => GaussianTable::new(gaussian).ok(),
            _ => None,
        };
        table.map_or(Self::Direct(*gaussian), |table| {
            Self::Table(Box::new(table))
        })
    }

    /// Adds an independent sample to every value; see [`DiscreteGaussian::add_noise`].
    pub fn add_noise(&self, values: &mut [i64], source: &mut NoiseSource) {
        match self {
            Self::Table(table) => table.add_noise(values, source),
            Self::Direct(gaussian) => gaussian.add_noise(values, source),
        }
    }
}
