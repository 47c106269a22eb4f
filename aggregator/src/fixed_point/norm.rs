//! The norm check: decided in floats where their error can't matter, else in integers.

use tributary_privacy::VectorError;

use super::FixedPoint;
use super::rounding::STEPS_AT_ONCE;
use super::squares::Squares;
use super::update::EncodedBlocks;
use crate::codec::BLOCK;

/// Relative error of the sum of squares of `dimension` integers.
///
/// The inner loops square in `f32`, add the four squares of a step, and add at most
/// [`STEPS_AT_ONCE`] steps of 16 values or more before they go on in `f64`. Each of these operations
/// is off by at most 2^-24 of its result and nothing is negative, so n of them are off by at most
/// n 2^-24 / (1 - n 2^-24) (Higham, Accuracy and Stability of Numerical Algorithms, section 4.2). The
/// error of `f64` disappears in what is added here.
fn squares_error(dimension: usize) -> f64 {
    let operations = (dimension / 16).min(STEPS_AT_ONCE) + 6;
    operations as f64 / 16_777_216.0 * 1.001
}

/// Relative error of the norm of values `scale * level`, rounded once to `f32` each, against the
/// real number computed from exact integer squares: 2^-24 and something for `f64`.
pub(super) const LEVELS_ERROR: f64 = 1.01 / 16_777_216.0;

/// What the float sums can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Within,
    Above,
    Unclear,
}

impl FixedPoint {
    /// Accepts an update exactly when sum q^2 <= B^2, from the squares of all its blocks. A vector of
    /// zeros is as good as any other.
    pub(crate) fn check(
        &self,
        update: &EncodedBlocks<'_>,
        squares: Squares,
    ) -> Result<(), VectorError> {
        let verdict = match squares {
            Squares::OfIntegers(squares) => self.judge_integers(squares),
            Squares::BeforeRounding(squares) => self.judge_scaled(squares),
        };
        match verdict {
            Verdict::Within => Ok(()),
            Verdict::Unclear if self.is_within_in_integers(update) => Ok(()),
            Verdict::Above | Verdict::Unclear => Err(self.refusal(update)),
        }
    }

    /// The same answer without the reason, for which the update is read again.
    pub(crate) fn accepts(&self, update: &EncodedBlocks<'_>, squares: Squares) -> bool {
        let verdict = match squares {
            Squares::OfIntegers(squares) => self.judge_integers(squares),
            Squares::BeforeRounding(squares) => self.judge_scaled(squares),
        };
        match verdict {
            Verdict::Within => true,
            Verdict::Above => false,
            Verdict::Unclear => self.is_within_in_integers(update),
        }
    }

    fn judge_integers(&self, squares: f64) -> Verdict {
        let limit = (self.bound as f64).powi(2);
        let error = squares_error(self.dimension());
        if squares * (1.0 + error) <= limit {
            Verdict::Within
        } else if squares * (1.0 - error) <= limit {
            Verdict::Unclear
        } else {
            Verdict::Above
        }
    }

    /// Rounding moves each value by at most 1/2, hence the norm by at most sqrt(d) / 2.
    fn judge_scaled(&self, squares: f64) -> Verdict {
        let bound = self.bound as f64;
        let norm = squares.sqrt();
        let rounding = (self.dimension() as f64).sqrt() / 2.0 * (1.0 + 1e-12);
        let (least, most) = (norm * (1.0 - LEVELS_ERROR), norm * (1.0 + LEVELS_ERROR));
        if least - rounding > bound || norm.is_nan() {
            Verdict::Above
        } else if most + rounding <= bound {
            Verdict::Within
        } else {
            Verdict::Unclear
        }
    }

    /// Rounds the update once more and squares in integers. Only for updates whose squares are at
    /// most near the bound, so that each integer is far below 2^22.
    fn is_within_in_integers(&self, update: &EncodedBlocks<'_>) -> bool {
        let limit = u128::from(self.bound) * u128::from(self.bound);
        let mut squares = 0u128;
        let mut integers = [0i32; BLOCK];
        for (number, start) in (0..self.dimension()).step_by(BLOCK).enumerate() {
            let integers = &mut integers[..BLOCK.min(self.dimension() - start)];
            update.integers(number, self.factor, integers);
            // each is below 2^44, so a block stays below 2^54
            let block: u64 = integers
                .iter()
                .map(|&integer| u64::from(integer.unsigned_abs()).pow(2))
                .sum();
            squares += u128::from(block);
        }
        squares <= limit
    }

    /// Names what is wrong with an update that is over the bound.
    fn refusal(&self, update: &EncodedBlocks<'_>) -> VectorError {
        let mut floats = [0.0; BLOCK];
        for (number, start) in (0..self.dimension()).step_by(BLOCK).enumerate() {
            let floats = &mut floats[..BLOCK.min(self.dimension() - start)];
            update.decode(number, floats);
            if let Some(position) = floats.iter().position(|value| !value.is_finite()) {
                return VectorError::NotFinite {
                    index: start + position,
                };
            }
        }
        VectorError::NormTooLarge {
            clip: self.clip(),
            bound: self.bound,
        }
    }
}
