//! What makes an addition of floats round to integers.

/// 1.5 * 2^23. Adding it to a magnitude below 2^22 rounds to the nearest integer, ties to even, and
/// leaves that integer in the low bits of the mantissa.
pub(super) const ROUNDER: f32 = 12_582_912.0;

/// What the bits of a rounded value hold beside the integer. A lane to which n values were added
/// holds their sum plus n times this, all modulo 2^32.
pub(crate) const BIAS: i32 = ROUNDER.to_bits() as i32;

/// Larger scaled values become this one. Its square alone is above every bound squared.
pub(super) const CEILING: f32 = 4_194_304.0;
