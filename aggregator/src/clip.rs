//! Scaling an update into the L2 ball of radius `clip`, as the device does before encoding.

use crate::error::UpdateError;
use crate::fixed_point::check_clip;

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
/// behind always passes the exact check of [`crate::FixedPoint`] with the same clip when it is sent
/// with a codec that rounds towards zero. Codecs that round stochastically may lengthen a vector:
/// [`crate::Codec::encode_clipped`] is for all of them.
///
/// # Errors
/// [`UpdateError::BadClip`], or [`UpdateError::NotFinite`] for a NaN or infinite value; `values` is
/// then unchanged.
pub fn clip_l2(values: &mut [f32], clip: f32) -> Result<ClipReport, UpdateError> {
    let report = measure(values, clip)?;
    if report.factor < 1.0 {
        scale(values, report.factor);
    }
    Ok(report)
}

/// What [`clip_l2`] would do, without doing it.
pub(crate) fn measure(values: &[f32], clip: f32) -> Result<ClipReport, UpdateError> {
    check_clip(clip)?;
    let norm = l2_norm(values);
    if !norm.is_finite() {
        // squares of finite f32 can't overflow an f64, so some value is NaN or infinite
        let index = values
            .iter()
            .position(|value| !value.is_finite())
            .unwrap_or(0);
        return Err(UpdateError::NotFinite { index });
    }
    let target = f64::from(clip) * (1.0 - f64::powi(2.0, -22));
    if norm <= target {
        return Ok(ClipReport { norm, factor: 1.0 });
    }
    let factor = target / norm;
    Ok(ClipReport { norm, factor })
}

/// Multiplies every value by `factor`.
pub(crate) fn scale(values: &mut [f32], factor: f64) {
    for value in values {
        *value = (f64::from(*value) * factor) as f32;
    }
}

/// Euclidean norm.
pub(crate) fn l2_norm(values: &[f32]) -> f64 {
    squared_norm(values).sqrt()
}

/// Sum of squares, accumulated in f64 lanes so that the additions don't wait for each other.
pub(crate) fn squared_norm(values: &[f32]) -> f64 {
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
    use proptest::prelude::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;
    use crate::{Codec, FixedPoint};

    /// The codecs whose plain encoding never lengthens a vector.
    const NEVER_LONGER: [Codec; 3] = [Codec::F32, Codec::F16, Codec::BF16];

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
            assert_eq!(refused, Err(UpdateError::NotFinite { index: 2 }));
            assert_eq!(values[..2], [1.0, 2.0]);
            assert!(clip_l2(&mut [1.0], bad).is_err());
        }
        assert!(clip_l2(&mut [1.0], 0.0).is_err());
        assert!(clip_l2(&mut [1.0], -1.0).is_err());
    }

    proptest! {
        #[test]
        fn a_clipped_vector_is_always_accepted(
            seed in prop::collection::vec(-1.0f32..1.0, 1..2500),
            exponent in -20i32..60,
            clip in 1e-3f32..1e3,
        ) {
            let magnitude = f32::powi(2.0, exponent);
            let mut values: Vec<f32> = seed.iter().map(|v| v * magnitude).collect();
            clip_l2(&mut values, clip).unwrap();
            let fixed = FixedPoint::new(clip, values.len()).unwrap();
            for codec in NEVER_LONGER {
                let outcome = fixed.contribution(codec, &codec.encode(&values, &mut ChaCha20Rng::seed_from_u64(1)));
                prop_assert!(outcome.is_ok(), "{outcome:?}");
            }
        }

        #[test]
        fn constant_vectors_hit_the_worst_rounding_and_are_accepted(
            dimension in 1usize..5000,
            clip in 1e-3f32..1e3,
        ) {
            let mut values = vec![1e6f32; dimension];
            clip_l2(&mut values, clip).unwrap();
            let fixed = FixedPoint::new(clip, dimension).unwrap();
            for codec in NEVER_LONGER {
                prop_assert!(fixed.contribution(codec, &codec.encode(&values, &mut ChaCha20Rng::seed_from_u64(1))).is_ok());
            }
        }
    }
}
