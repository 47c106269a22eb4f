//! From the bytes of an update to integers on a fixed grid, with the exact norm check.
//!
//! A value g becomes q = round(g * f), where f = S / C with S = 2^20 and clip C, rounded to `f32`;
//! the product is an `f32` too and ties go to even. Both roundings together change a norm by less
//! than 2^-23 of itself, within the 2^-22 that [`clip_l2`](tributary_privacy::clip_l2) leaves below C.
//! Whatever a device sends, the contribution counts only if the integer vector satisfies sum q^2 <=
//! B^2, so B is the exact L2 sensitivity of a sum of contributions when one device is added or removed.

mod contribution;
mod norm;
mod rounding;
mod squares;
mod update;

#[cfg(test)]
mod tests;

pub use contribution::Contribution;
pub(crate) use rounding::BIAS;
pub(crate) use squares::Squares;
pub(crate) use update::{EncodedBlocks, add_together};

use tributary_privacy::{Grid, SCALE, VectorError};

use crate::error::UpdateError;

/// The largest magnitude an accepted integer can have, for any accepted dimension: a bound on B.
pub(crate) const MAX_MAGNITUDE: u64 = 1 << 21;

/// How the updates of one round become integers: the grid, the factor and the bound on their norm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FixedPoint {
    grid: Grid,
    /// share * S / C
    factor: f32,
    bound: u64,
}

impl FixedPoint {
    /// The grid for vectors of `dimension` values clipped to L2 norm `clip`.
    ///
    /// # Errors
    /// As [`Grid::new`].
    pub fn new(clip: f32, dimension: usize) -> Result<Self, VectorError> {
        let grid = Grid::new(clip, dimension)?;
        Ok(Self {
            grid,
            factor: (SCALE as f64 / f64::from(clip)) as f32,
            bound: grid.bound(),
        })
    }

    /// The clip C in parameter units.
    pub fn clip(&self) -> f32 {
        self.grid.clip()
    }

    /// Number of parameters.
    pub fn dimension(&self) -> usize {
        self.grid.dimension()
    }

    /// The largest L2 norm of an accepted integer vector: [`Grid::bound`], the L2 sensitivity in integer
    /// units when zeros replace one device's contribution; [`Grid::scaled_bound`] for a share.
    pub fn bound(&self) -> u64 {
        self.bound
    }

    /// Parameter units per grid step and contribution: C / S.
    pub fn step(&self) -> f64 {
        self.grid.step()
    }

    /// The grid for updates that count with `share` of their value: the same step, integers of
    /// round(share * g * S / C), and the bound ceil(share * S) + ceil(sqrt(d) / 2), which is never
    /// above [`FixedPoint::bound`].
    ///
    /// The product of `share` and S / C is rounded to `f32` once, as S / C is for a fresh update.
    ///
    /// # Errors
    /// [`UpdateError::BadShare`] unless `share` is above 0 and at most 1.
    pub fn scaled(&self, share: f32) -> Result<Self, UpdateError> {
        if !(share > 0.0 && share <= 1.0) {
            return Err(UpdateError::BadShare { share });
        }
        let factor = f64::from(share) * SCALE as f64 / f64::from(self.clip());
        Ok(Self {
            grid: self.grid,
            factor: factor as f32,
            bound: self.grid.scaled_bound(share),
        })
    }

    /// share * S / C, what a value is multiplied by before it is rounded.
    pub(crate) fn factor(&self) -> f32 {
        self.factor
    }
}
