//! From the bytes of an update to integers on a fixed grid, with the exact norm check.
//!
//! A value g becomes q = round(g * f), where f = S / C with S = 2^20 and clip C, rounded to `f32`;
//! the product is an `f32` too and ties go to even. Both roundings together change a norm by less
//! than 2^-23 of itself, within the 2^-22 that [`clip_l2`](crate::clip_l2) leaves below C. Whatever
//! a device sends, the contribution counts only if the integer vector satisfies sum q^2 <= B^2, so
//! B is the exact L2 sensitivity of a sum of contributions when one device is added or removed.

mod contribution;
mod norm;
mod rounding;
mod update;

#[cfg(test)]
mod tests;

pub use contribution::Contribution;
pub(crate) use norm::Squares;
pub(crate) use rounding::BIAS;
pub(crate) use update::{EncodedBlocks, add_together};

use crate::error::UpdateError;

/// Grid steps per clip: S = 2^20.
pub const SCALE: u64 = 1 << 20;

/// The largest number of parameters that is accepted (64 Mi).
pub const MAX_DIMENSION: usize = 1 << 26;

/// The largest magnitude an accepted integer can have, for any accepted dimension: a bound on B.
pub(crate) const MAX_MAGNITUDE: u64 = 1 << 21;

/// The grid of one round: clip, scale and the integer bound that follows from them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FixedPoint {
    clip: f32,
    dimension: usize,
    /// share * S / C
    factor: f32,
    bound: u64,
}

impl FixedPoint {
    /// The grid for vectors of `dimension` values clipped to L2 norm `clip`.
    ///
    /// # Errors
    /// [`UpdateError::BadClip`] unless `clip` is in [1e-12, 1e12];
    /// [`UpdateError::BadDimension`] unless `dimension` is in 1..=[`MAX_DIMENSION`].
    pub fn new(clip: f32, dimension: usize) -> Result<Self, UpdateError> {
        check_clip(clip)?;
        if dimension == 0 || dimension > MAX_DIMENSION {
            return Err(UpdateError::BadDimension {
                dimension,
                max: MAX_DIMENSION,
            });
        }
        Ok(Self {
            clip,
            dimension,
            factor: (SCALE as f64 / f64::from(clip)) as f32,
            bound: SCALE + half_root_up(dimension as u64),
        })
    }

    /// The clip C in parameter units.
    pub fn clip(&self) -> f32 {
        self.clip
    }

    /// Number of parameters.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// B = S + ceil(sqrt(d) / 2): the norm of any vector of norm C after rounding each value to the
    /// grid is at most this. It is the L2 sensitivity in integer units
    /// when zeros replace one device's contribution.
    pub fn bound(&self) -> u64 {
        self.bound
    }

    /// Parameter units per grid step and contribution: C / S.
    pub fn step(&self) -> f64 {
        f64::from(self.clip) / SCALE as f64
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
        let share = f64::from(share);
        Ok(Self {
            factor: (share * SCALE as f64 / f64::from(self.clip)) as f32,
            // 24 bits times a power of two: exact
            bound: (share * SCALE as f64).ceil() as u64 + half_root_up(self.dimension as u64),
            ..*self
        })
    }

    /// share * S / C, what a value is multiplied by before it is rounded.
    pub(crate) fn factor(&self) -> f32 {
        self.factor
    }
}

/// Refuses a clip that is not finite, not positive, or so extreme that S / C loses its meaning.
pub(crate) fn check_clip(clip: f32) -> Result<(), UpdateError> {
    if (1e-12..=1e12).contains(&clip) {
        Ok(())
    } else {
        Err(UpdateError::BadClip { clip })
    }
}

/// ceil(sqrt(d) / 2) in integers: the smallest r with (2 r)^2 >= d.
fn half_root_up(dimension: u64) -> u64 {
    let root = dimension.isqrt();
    let root_up = if root * root == dimension {
        root
    } else {
        root + 1
    };
    root_up.div_ceil(2)
}
