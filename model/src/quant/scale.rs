//! Mapping between real numbers and int8.

/// Largest magnitude of a quantised weight; -128 is unused so that the grid is symmetric.
pub const WEIGHT_LIMIT: i32 = 127;

/// Asymmetric mapping of activations: `real = scale * (quantised - zero_point)`, quantised values in
/// -128..=127, zero exactly representable (Jacob et al. 2018, equation 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ActivationScale {
    scale: f32,
    zero_point: i8,
}

impl ActivationScale {
    /// The mapping that covers `minimum..=maximum`, widened where needed so that zero lies inside.
    ///
    /// `None` for a range that is not finite, is in the wrong order, or too wide for an `f32`. An
    /// empty range at zero gets scale 1.
    pub fn from_range(minimum: f32, maximum: f32) -> Option<Self> {
        if !(minimum.is_finite() && maximum.is_finite() && minimum <= maximum) {
            return None;
        }
        let (minimum, maximum) = (minimum.min(0.0), maximum.max(0.0));
        let width = f64::from(maximum) - f64::from(minimum);
        let scale = (width / 255.0) as f32;
        if !(scale.is_finite() && scale >= f32::MIN_POSITIVE) {
            let empty = width == 0.0;
            return empty.then_some(Self {
                scale: 1.0,
                zero_point: i8::MIN,
            });
        }
        let zero_point = (-128.0 - f64::from(minimum) / f64::from(scale)).round();
        // A float-to-int cast saturates, and the value is in -128..=127 but for rounding.
        Some(Self {
            scale,
            zero_point: zero_point as i8,
        })
    }

    /// Rebuilds a stored mapping; `None` unless the scale is a positive normal number.
    pub fn from_parts(scale: f32, zero_point: i8) -> Option<Self> {
        (scale.is_normal() && scale > 0.0).then_some(Self { scale, zero_point })
    }

    /// Real width of one step; positive.
    pub fn scale(self) -> f32 {
        self.scale
    }

    /// The quantised value that stands for real zero.
    pub fn zero_point(self) -> i8 {
        self.zero_point
    }

    /// The nearest quantised value; reals outside the range saturate. NaN gives the zero point.
    pub fn quantise(self, real: f32) -> i8 {
        let steps = (real / self.scale).round();
        if steps.is_nan() {
            return self.zero_point;
        }
        // The cast saturates, the sum of the two cannot overflow i64.
        let value = steps as i64;
        value
            .saturating_add(i64::from(self.zero_point))
            .clamp(-128, 127) as i8
    }

    /// The real number a quantised value stands for.
    pub fn dequantise(self, quantised: i8) -> f32 {
        self.scale * (i32::from(quantised) - i32::from(self.zero_point)) as f32
    }
}

/// Scale of one output channel's weights: `largest magnitude / 127`, symmetric around zero. A
/// channel of zeros gets `None`.
pub fn symmetric_weight_scale(weights: impl IntoIterator<Item = f32>) -> Option<f64> {
    let largest = weights
        .into_iter()
        .fold(0.0_f64, |largest, w| largest.max(f64::from(w).abs()));
    (largest > 0.0).then_some(largest / f64::from(WEIGHT_LIMIT))
}

/// The nearest weight step in -127..=127.
pub fn quantise_weight(weight: f32, scale: f64) -> i8 {
    let limit = f64::from(WEIGHT_LIMIT);
    // Within -127..=127 after the clamp; NaN is refused before weights reach this point.
    (f64::from(weight) / scale).round().clamp(-limit, limit) as i8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn relu_range_uses_all_steps_above_zero() {
        let scale = ActivationScale::from_range(0.0, 2.55).unwrap();
        assert_eq!(scale.zero_point(), -128);
        assert_eq!(scale.quantise(2.55), 127);
        assert_eq!(scale.quantise(9.0), 127);
        assert_eq!(scale.quantise(-9.0), -128);
    }

    #[test]
    fn range_that_misses_zero_is_widened_to_hold_it() {
        let above = ActivationScale::from_range(5.0, 10.0).unwrap();
        assert_eq!(above, ActivationScale::from_range(0.0, 10.0).unwrap());
        let below = ActivationScale::from_range(-10.0, -5.0).unwrap();
        assert_eq!(below.zero_point(), 127);
    }

    #[test]
    fn empty_range_at_zero_still_maps_zero() {
        let scale = ActivationScale::from_range(0.0, 0.0).unwrap();
        assert_eq!(scale.dequantise(scale.quantise(0.0)), 0.0);
    }

    #[test]
    fn unusable_ranges_and_scales_are_refused() {
        for (low, high) in [
            (1.0, -1.0),
            (f32::NAN, 1.0),
            (0.0, f32::INFINITY),
            (0.0, 1e-40),
        ] {
            assert!(
                ActivationScale::from_range(low, high).is_none(),
                "{low}..{high}"
            );
        }
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-40] {
            assert!(ActivationScale::from_parts(scale, 0).is_none(), "{scale}");
        }
    }

    #[test]
    fn a_value_that_is_no_number_becomes_zero() {
        let scale = ActivationScale::from_range(-1.0, 3.0).unwrap();
        assert_eq!(scale.quantise(f32::NAN), scale.zero_point());
    }

    proptest! {
        #[test]
        fn activation_round_trip_is_within_half_a_step_inside_the_range(
            low in -1e3_f32..0.0,
            high in 0.001_f32..1e3,
            position in 0.0_f32..1.0,
        ) {
            let scale = ActivationScale::from_range(low, high).unwrap();
            let real = low + position * (high - low);
            let error = (scale.dequantise(scale.quantise(real)) - real).abs();
            // The ends of the range may lose another half step to the rounded zero point.
            prop_assert!(error <= 1.01 * scale.scale(), "error {} of {}", error, scale.scale());
            prop_assert_eq!(scale.dequantise(scale.quantise(0.0)), 0.0);
        }

        #[test]
        fn weight_round_trip_is_within_half_a_step(
            weights in prop::collection::vec(-1e3_f32..1e3, 1..40),
        ) {
            let Some(scale) = symmetric_weight_scale(weights.iter().copied()) else {
                return Ok(());
            };
            for weight in weights {
                let steps = quantise_weight(weight, scale);
                let error = (f64::from(steps) * scale - f64::from(weight)).abs();
                prop_assert!(error <= 0.500_001 * scale, "error {} of {}", error, scale);
            }
        }
    }
}
