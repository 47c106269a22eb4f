//! Fixed-point arithmetic of integer inference.
//!
//! A real factor M > 0 is written `mantissa * 2^(exponent - 31)` with the mantissa in Q31
//! (`2^30 <= mantissa < 2^31`), and multiplied into a 32-bit accumulator with the two rounding
//! steps of TensorFlow Lite's int8 reference kernels (Jacob et al. 2018, "Quantization and Training
//! of Neural Networks for Efficient Integer-Arithmetic-Only Inference", section 2.2). The results
//! are therefore bit-identical to that family of kernels on every machine.

/// Largest power of two by which an accumulator may be scaled up.
const MAX_EXPONENT: i32 = 30;

/// The high 32 bits of `2 * a * b`, rounded: `(a * b + nudge) / 2^31`, where the nudge is `2^30` for
/// a product >= 0 and `1 - 2^30` below zero, and the division truncates towards zero. The only
/// product that does not fit, `i32::MIN * i32::MIN`, saturates to `i32::MAX`.
pub fn saturating_rounding_doubling_high_multiply(a: i32, b: i32) -> i32 {
    if a == i32::MIN && b == i32::MIN {
        return i32::MAX;
    }
    let product = i64::from(a) * i64::from(b);
    let nudge = if product >= 0 { 1 << 30 } else { 1 - (1 << 30) };
    // In range: the one product that would leave i32 was answered above.
    ((product + nudge) / (1 << 31)) as i32
}

/// `value / 2^exponent` rounded to the nearest integer, ties away from zero.
///
/// An `exponent` above 31 gives 0: no `i32` exceeds half of `2^32`.
pub fn rounding_divide_by_power_of_two(value: i32, exponent: u32) -> i32 {
    if exponent > 31 {
        return 0;
    }
    let mask = (1_i64 << exponent) - 1;
    let remainder = i64::from(value) & mask;
    let threshold = (mask >> 1) + i64::from(value < 0);
    // In range: the arithmetic shift shrinks the value, and for exponent 0 the remainder is 0.
    ((i64::from(value) >> exponent) + i64::from(remainder > threshold)) as i32
}

/// Rounds `sum / count` to the nearest integer, ties away from zero (average pooling).
///
/// `count` must be positive; 0 is answered with 0.
pub fn rounding_mean(sum: i64, count: u32) -> i64 {
    if count == 0 {
        return 0;
    }
    let count = i64::from(count);
    let half = if sum >= 0 { count / 2 } else { -(count / 2) };
    sum.saturating_add(half) / count
}

/// A positive real factor in fixed point: `mantissa * 2^(exponent - 31)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multiplier {
    mantissa: i32,
    exponent: i8,
}

impl Multiplier {
    /// The closest representable factor.
    ///
    /// Factors below `2^-32` become 0: no accumulator is large enough to feel them. `None` for
    /// negative, non-finite and too large (`>= 2^30`) factors.
    pub fn from_real(factor: f64) -> Option<Self> {
        if !(factor.is_finite() && factor >= 0.0) {
            return None;
        }
        let (fraction, mut exponent) = split_binary(factor);
        let mut mantissa = (fraction * f64::from(1_u32 << 31)).round() as i64;
        if mantissa == 1 << 31 {
            mantissa >>= 1;
            exponent += 1;
        }
        if mantissa == 0 || exponent < -31 {
            return Some(Self {
                mantissa: 0,
                exponent: 0,
            });
        }
        if exponent > MAX_EXPONENT {
            return None;
        }
        // Both fit: 2^30 <= mantissa < 2^31 and -31 <= exponent <= 30.
        Some(Self {
            mantissa: mantissa as i32,
            exponent: exponent as i8,
        })
    }

    /// Rebuilds a stored factor. `None` unless the mantissa is 0 with exponent 0, or in
    /// `2^30..2^31` with an exponent in `-31..=30`.
    pub fn from_parts(mantissa: i32, exponent: i8) -> Option<Self> {
        let zero = mantissa == 0 && exponent == 0;
        let normal = mantissa >= 1 << 30 && (-31..=MAX_EXPONENT).contains(&i32::from(exponent));
        (zero || normal).then_some(Self { mantissa, exponent })
    }

    /// The Q31 mantissa: 0, or in `2^30..2^31`.
    pub fn mantissa(self) -> i32 {
        self.mantissa
    }

    /// The power of two, in `-31..=30`.
    pub fn exponent(self) -> i8 {
        self.exponent
    }

    /// The factor as a real number.
    pub fn to_real(self) -> f64 {
        f64::from(self.mantissa) * 2_f64.powi(i32::from(self.exponent) - 31)
    }

    /// `accumulator * factor`, rounded as the reference kernels do: saturating left shift by a
    /// positive exponent, high multiply by the mantissa, rounding right shift by a negative one.
    pub fn apply(self, accumulator: i32) -> i32 {
        let exponent = i32::from(self.exponent);
        // Widening keeps the shift exact; the clamp only acts far outside the int8 range.
        let shifted = (i64::from(accumulator) << exponent.max(0))
            .clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
        let product = saturating_rounding_doubling_high_multiply(shifted, self.mantissa);
        rounding_divide_by_power_of_two(product, (-exponent).max(0).unsigned_abs())
    }
}

/// Splits a finite value >= 0 into `fraction * 2^exponent` with the fraction in `0.5..1` (C's
/// `frexp`); 0 gives `(0, 0)`.
fn split_binary(value: f64) -> (f64, i32) {
    const MANTISSA_BITS: u64 = (1 << 52) - 1;
    const EXPONENT_OF_HALF: u64 = 1022 << 52;
    if value == 0.0 {
        return (0.0, 0);
    }
    if value < f64::MIN_POSITIVE {
        // A subnormal has no implicit leading bit: scale it into the normal range first.
        let (fraction, exponent) = split_binary(value * 2_f64.powi(64));
        return (fraction, exponent - 64);
    }
    let bits = value.to_bits();
    // 11 bits: the cast keeps the value.
    let exponent = (bits >> 52) as i32 - 1022;
    (
        f64::from_bits((bits & MANTISSA_BITS) | EXPONENT_OF_HALF),
        exponent,
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn high_multiply_matches_hand_worked_values() {
        // (a * b + nudge) / 2^31 worked by hand.
        let half = 1 << 30;
        for (a, b, expected) in [
            (0, 12_345, 0),
            (half, half, 1 << 29), // 2^60 / 2^31
            (1, half, 1),          // (2^30 + 2^30) / 2^31: a tie goes up
            (-1, half, 0), // (1 - 2^31) / 2^31 truncates to 0: negative ties go towards zero
            (-3, half, -1), // (-3 * 2^30 + 1 - 2^30) / 2^31 = -2 + 2^-31, truncated
            (3, half, 2),
            (i32::MAX, i32::MAX, i32::MAX - 1), // 2^31 - 2 + 2^-31, plus one half, truncated
            (i32::MIN, i32::MAX, -i32::MAX),    // -(2^31 - 1) exactly
            (i32::MIN, half, -half),
            (1_000_000, 1_518_500_250, 707_107), // sqrt(1/2) in Q31: 707106.78 rounds up
        ] {
            assert_eq!(
                saturating_rounding_doubling_high_multiply(a, b),
                expected,
                "{a} * {b}"
            );
            assert_eq!(
                saturating_rounding_doubling_high_multiply(b, a),
                expected,
                "{b} * {a}"
            );
        }
    }

    #[test]
    fn high_multiply_saturates_the_only_overflowing_product() {
        assert_eq!(
            saturating_rounding_doubling_high_multiply(i32::MIN, i32::MIN),
            i32::MAX
        );
    }

    #[test]
    fn rounding_shift_sends_ties_away_from_zero() {
        for (value, exponent, expected) in [
            (5, 0, 5),
            (5, 1, 3),
            (-5, 1, -3),
            (3, 1, 2),
            (-3, 1, -2),
            (1, 1, 1),
            (-1, 1, -1),
            (6, 2, 2),
            (-6, 2, -2),
            (5, 2, 1),
            (-5, 2, -1),
            (7, 2, 2),
            (-7, 2, -2),
            (i32::MAX, 31, 1),
            (i32::MIN, 31, -1),
            (1 << 30, 31, 1),
            (-(1 << 30), 31, -1),
            ((1 << 30) - 1, 31, 0),
            (i32::MIN, 0, i32::MIN),
            (i32::MAX, 32, 0),
        ] {
            let got = rounding_divide_by_power_of_two(value, exponent);
            assert_eq!(got, expected, "{value} >> {exponent}");
        }
    }

    #[test]
    fn rounding_mean_sends_ties_away_from_zero() {
        for (sum, count, expected) in [
            (5, 2, 3),
            (-5, 2, -3),
            (7, 3, 2),
            (8, 3, 3),
            (-7, 3, -2),
            (-8, 3, -3),
            (0, 9, 0),
        ] {
            assert_eq!(rounding_mean(sum, count), expected, "{sum} / {count}");
        }
        assert_eq!(rounding_mean(i64::MIN, 1), i64::MIN);
    }

    #[test]
    fn multiplier_has_the_mantissa_and_exponent_of_the_reference_encoder() {
        for (real, mantissa, exponent) in [
            (1.0, 1 << 30, 1),
            (0.5, 1 << 30, 0),
            (0.75, 3 << 29, 0),
            (0.25, 1 << 30, -1),
            (3.0, 3 << 29, 2),
            (0.1, 1_717_986_918, -3), // 0.8 * 2^31 = 1717986918.4
        ] {
            let multiplier = Multiplier::from_real(real).unwrap();
            assert_eq!(
                (multiplier.mantissa(), multiplier.exponent()),
                (mantissa, exponent)
            );
        }
    }

    #[test]
    fn mantissa_that_rounds_up_to_one_is_renormalised() {
        let just_below_one = 1.0 - f64::EPSILON / 2.0;
        assert_eq!(
            Multiplier::from_real(just_below_one),
            Multiplier::from_real(1.0)
        );
    }

    #[test]
    fn unusable_factors_are_refused_and_vanishing_ones_become_zero() {
        for factor in [f64::NAN, f64::INFINITY, -0.1, 2_f64.powi(30), 1e300] {
            assert_eq!(Multiplier::from_real(factor), None, "{factor}");
        }
        for factor in [0.0, 1e-300, f64::from_bits(1), 2_f64.powi(-33)] {
            assert_eq!(
                Multiplier::from_real(factor).unwrap().apply(i32::MAX),
                0,
                "{factor}"
            );
        }
        assert!(Multiplier::from_real(2_f64.powi(30) - 1.0).is_some());
        assert!(Multiplier::from_parts(1, 0).is_none());
        assert!(Multiplier::from_parts(1 << 30, 31).is_none());
        assert!(Multiplier::from_parts(1 << 30, -32).is_none());
    }

    #[test]
    fn requantisation_matches_hand_worked_values() {
        for (factor, accumulator, expected) in [
            (0.5, 3, 2),    // 1.5: ties away from zero
            (0.25, -6, -2), // -1.5 by the rounding shift
            (0.1, 1_234, 123),
            (0.1, -1_234, -123),
            (3.0, 41, 123),
            (1.0, -77, -77),
            // 2^11 * i32::MAX saturates to i32::MAX, and the mantissa 2^30 halves that.
            (1024.0, i32::MAX, 1 << 30),
        ] {
            let got = Multiplier::from_real(factor).unwrap().apply(accumulator);
            assert_eq!(got, expected, "{accumulator} * {factor}");
        }
    }

    proptest! {
        #[test]
        fn applying_a_factor_is_within_one_of_the_real_product(
            mantissa in 1_i32 << 30..=i32::MAX,
            exponent in -31_i8..=0,
            accumulator in any::<i32>(),
        ) {
            let multiplier = Multiplier::from_parts(mantissa, exponent).unwrap();
            let real = f64::from(accumulator) * multiplier.to_real();
            prop_assert!((f64::from(multiplier.apply(accumulator)) - real).abs() <= 1.0);
        }

        #[test]
        fn stored_parts_rebuild_the_same_factor(factor in 1e-9_f64..1e8) {
            let multiplier = Multiplier::from_real(factor).unwrap();
            let rebuilt = Multiplier::from_parts(multiplier.mantissa(), multiplier.exponent());
            prop_assert_eq!(rebuilt, Some(multiplier));
            prop_assert!((multiplier.to_real() / factor - 1.0).abs() < 1e-9);
        }

        #[test]
        fn rounding_shift_agrees_with_rounding_in_floating_point(
            value in any::<i32>(),
            exponent in 0_u32..=31,
        ) {
            // f64 holds every quotient exactly and its round() sends ties away from zero.
            let expected = (f64::from(value) / 2_f64.powi(exponent as i32)).round() as i32;
            prop_assert_eq!(rounding_divide_by_power_of_two(value, exponent), expected);
        }
    }
}
