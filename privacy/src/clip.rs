//! Scaling an update into the L2 ball of radius `clip`, as the device does before encoding.

use std::borrow::Cow;

use crate::grid::check_clip;
use crate::vector_error::VectorError;

/// Independent accumulators of the norm, so that the compiler can use vector registers.
const LANES: usize = 8;

/// What [`clip_l2`] did. It stays on the device: the norm says something about the data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClipReport {
    /// L2 norm before clipping.
    pub norm: f64,
    /// What every value was multiplied by, in (0, 1]; 1 when the vector was inside the ball.
    pub factor: f64,
}

/// Scales `values` to an L2 norm of at most `clip`: g <- g min(1, C / ||g||) (Abadi et al. 2016,
/// algorithm 1). A zero vector stays as it is.
///
/// The target lies 2^-22 below `clip`, which covers every later rounding: what this function leaves
/// behind always passes the exact check of the aggregator's `FixedPoint` with the same clip when it is
/// sent with a codec that rounds towards zero. Codecs that round stochastically may lengthen a vector:
/// `Codec::encode_clipped` is for all of them.
///
/// # Errors
/// [`VectorError::BadClip`], or [`VectorError::NotFinite`] for a NaN or infinite value; `values` is
/// then unchanged.
pub fn clip_l2(values: &mut [f32], clip: f32) -> Result<ClipReport, VectorError> {
    let report = measure(values, clip)?;
    if report.factor < 1.0 {
        scale(values, report.factor);
    }
    Ok(report)
}

/// `values` as [`clip_l2`] would leave them: themselves where they are inside the ball, else a copy.
///
/// # Errors
/// As [`clip_l2`].
pub fn clipped_l2(values: &[f32], clip: f32) -> Result<Cow<'_, [f32]>, VectorError> {
    let report = measure(values, clip)?;
    if report.factor < 1.0 {
        let mut scaled = values.to_vec();
        scale(&mut scaled, report.factor);
        Ok(Cow::Owned(scaled))
    } else {
        Ok(Cow::Borrowed(values))
    }
}

/// What [`clip_l2`] would do, without doing it.
fn measure(values: &[f32], clip: f32) -> Result<ClipReport, VectorError> {
    check_clip(clip)?;
    let norm = l2_norm(values);
    if !norm.is_finite() {
        // squares of finite f32 can't overflow an f64, so some value is NaN or infinite
        let index = values
            .iter()
            .position(|value| !value.is_finite())
            .unwrap_or(0);
        return Err(VectorError::NotFinite { index });
    }
    let target = f64::from(clip) * (1.0 - f64::powi(2.0, -22));
    if norm <= target {
        return Ok(ClipReport { norm, factor: 1.0 });
    }
    let factor = target / norm;
    Ok(ClipReport { norm, factor })
}

/// Multiplies every value by `factor`.
fn scale(values: &mut [f32], factor: f64) {
    for value in values {
        *value = (f64::from(*value) * factor) as f32;
    }
}

/// The L2 norm; infinite or NaN where a value is.
pub fn l2_norm(values: &[f32]) -> f64 {
    squared_norm(values).sqrt()
}

/// The sum of squares, accumulated in f64 lanes so that the additions don't wait for each other. Squares
/// of finite `f32` can't overflow it.
pub fn squared_norm(values: &[f32]) -> f64 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut squares = [0.0f64; LANES];
    for chunk in chunks {
        for (square, &value) in squares.iter_mut().zip(chunk) {
            *square += f64::from(value) * f64::from(value);
        }
    }
    let tail: f64 = rest
        .iter()
        .map(|&value| f64::from(value) * f64::from(value))
        .sum();
    squares.iter().sum::<f64>() + tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_inside_the_ball_is_untouched() {
        let mut values = [0.3, -0.4];
        let report = clip_l2(&mut values, 1.0).unwrap();
        assert!((report.norm - 0.5).abs() < 1e-7);
        assert_eq!((report.factor, values), (1.0, [0.3, -0.4]));
    }

    #[test]
    fn a_zero_vector_is_not_divided_by_its_norm() {
        let mut values = [0.0f32; 5];
        assert_eq!(
            clip_l2(&mut values, 1.0),
            Ok(ClipReport {
                norm: 0.0,
                factor: 1.0
            })
        );
        assert_eq!(values, [0.0; 5]);
    }

    #[test]
    fn non_finite_values_and_clips_are_refused_and_nothing_changes() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = [1.0, 2.0, bad];
            let refused = clip_l2(&mut values, 1.0);
            assert_eq!(refused, Err(VectorError::NotFinite { index: 2 }));
            assert_eq!(values[..2], [1.0, 2.0]);
            assert!(clip_l2(&mut [1.0], bad).is_err());
        }
        assert!(clip_l2(&mut [1.0], 0.0).is_err());
        assert!(clip_l2(&mut [1.0], -1.0).is_err());
    }
}
