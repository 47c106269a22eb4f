//! The integer grid that clipped vectors are rounded to, and the sensitivity that follows from it.
//!
//! A step of the grid is C / S for the clip C and S = 2^20 steps a clip. Rounding moves each of d values
//! by at most half a step, so a vector of norm C has an integer norm of at most
//! B = S + ceil(sqrt(d) / 2).

use crate::vector_error::VectorError;

/// Grid steps per clip: S = 2^20.
pub const SCALE: u64 = 1 << 20;

/// The largest number of parameters that is accepted (64 Mi).
pub const MAX_DIMENSION: usize = 1 << 26;

/// The grid for vectors of one length that are clipped to one L2 norm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    clip: f32,
    dimension: usize,
}

impl Grid {
    /// The grid for vectors of `dimension` values clipped to L2 norm `clip`, in parameter units.
    ///
    /// # Errors
    /// [`VectorError::BadClip`] unless `clip` is in [1e-12, 1e12];
    /// [`VectorError::BadDimension`] unless `dimension` is in 1..=[`MAX_DIMENSION`].
    pub fn new(clip: f32, dimension: usize) -> Result<Self, VectorError> {
        check_clip(clip)?;
        if dimension == 0 || dimension > MAX_DIMENSION {
            return Err(VectorError::BadDimension {
                dimension,
                max: MAX_DIMENSION,
            });
        }
        Ok(Self { clip, dimension })
    }

    /// The clip C in parameter units.
    pub fn clip(&self) -> f32 {
        self.clip
    }

    /// Number of parameters d.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Parameter units per grid step: C / S.
    pub fn step(&self) -> f64 {
        f64::from(self.clip) / SCALE as f64
    }

    /// B = S + ceil(sqrt(d) / 2): the norm, in steps, of any vector of norm C after rounding each value
    /// to the grid is at most this. It is the L2 sensitivity in integer units when zeros replace one
    /// device's contribution.
    pub fn bound(&self) -> u64 {
        SCALE + half_root_up(self.dimension as u64)
    }

    /// ceil(share S) + ceil(sqrt(d) / 2): the same bound for vectors that count with `share` of their
    /// value, in (0, 1]; never above [`Grid::bound`].
    pub fn scaled_bound(&self, share: f32) -> u64 {
        // 24 bits times a power of two: exact
        let scaled = (f64::from(share) * SCALE as f64).ceil() as u64;
        scaled + half_root_up(self.dimension as u64)
    }
}

/// Refuses a clip that is not finite, not positive, or so extreme that S / C loses its meaning.
pub(crate) fn check_clip(clip: f32) -> Result<(), VectorError> {
    if (1e-12..=1e12).contains(&clip) {
        Ok(())
    } else {
        Err(VectorError::BadClip { clip })
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
