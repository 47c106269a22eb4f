//! From the bytes of an update to integers on a fixed grid, with the exact norm check.
//!
//! A value g becomes q = round(g S / C) with S = 2^20 and clip C. Whatever a device sends, the
//! contribution counts only if the integer vector satisfies sum q^2 <= B^2, so B is the exact L2
//! sensitivity of a sum of contributions when one device is added or removed.

use std::fmt;

use crate::codec::{BLOCK, Codec};
use crate::error::UpdateError;

/// Grid steps per clip: S = 2^20.
pub const SCALE: u64 = 1 << 20;

/// The largest number of parameters that is accepted (64 Mi).
pub const MAX_DIMENSION: usize = 1 << 26;

/// The largest magnitude an accepted integer can have, for any accepted dimension: a bound on B.
pub(crate) const MAX_MAGNITUDE: u64 = 1 << 21;

/// Independent accumulators of an inner loop, so that the compiler can use vector registers.
pub(crate) const LANES: usize = 8;

/// 1.5 * 2^52. Adding it to a magnitude below 2^51 rounds to the nearest integer, ties to even, and
/// leaves that integer in the low bits of the mantissa.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// The grid of one round: clip, scale and the integer bound that follows from them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FixedPoint {
    clip: f32,
    dimension: usize,
    /// S / C
    factor: f64,
    bound: u64,
}

/// A validated update: integers whose exact L2 norm is at most the bound.
///
/// Only [`FixedPoint::contribution`] makes one. `Debug` shows the dimension and no value.
#[derive(Clone, PartialEq, Eq)]
pub struct Contribution {
    values: Vec<i32>,
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
        let factor = SCALE as f64 / f64::from(clip);
        Ok(Self {
            clip,
            dimension,
            factor,
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
    /// grid is at most this. It is the L2 sensitivity in integer units under add-or-remove.
    pub fn bound(&self) -> u64 {
        self.bound
    }

    /// Parameter units per grid step and contribution: C / S.
    pub fn step(&self) -> f64 {
        f64::from(self.clip) / SCALE as f64
    }

    /// Decodes, rounds and checks an update in one pass.
    ///
    /// # Errors
    /// [`UpdateError::WrongLength`], [`UpdateError::NotFinite`], [`UpdateError::NormTooLarge`], or
    /// [`UpdateError::AllZero`] when every value rounds to zero.
    pub fn contribution(&self, codec: Codec, bytes: &[u8]) -> Result<Contribution, UpdateError> {
        // before the allocation, so that its size never depends on a refused message
        codec.check_length(bytes.len(), self.dimension)?;
        let mut values = Vec::with_capacity(self.dimension);
        self.for_each_block(codec, bytes, |_, block| values.extend_from_slice(block))?;
        Ok(Contribution { values })
    }

    /// Runs `consume(offset, integers)` over the update block by block, each block only after its
    /// own check. When an error comes back, `consume` has seen the valid blocks before it and must
    /// undo them; a block that could break the bound by itself is never passed on.
    pub(crate) fn for_each_block(
        &self,
        codec: Codec,
        bytes: &[u8],
        mut consume: impl FnMut(usize, &[i32]),
    ) -> Result<(), UpdateError> {
        codec.check_length(bytes.len(), self.dimension)?;
        let limit = u128::from(self.bound) * u128::from(self.bound);
        let mut squares = 0u128;
        let mut floats = [0.0f32; BLOCK];
        let mut integers = [0i32; BLOCK];
        let Some(scheme) = codec.block_scheme() else {
            let mut values = vec![0.0; self.dimension];
            codec.decode_into(bytes, &mut values)?;
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            return self.for_each_block(Codec::F32, &bytes, consume);
        };
        for (number, raw) in bytes.chunks(scheme.block_len(BLOCK)).enumerate() {
            let offset = number * BLOCK;
            let count = (self.dimension - offset).min(BLOCK);
            scheme.decode_block(raw, &mut floats[..count]);
            let block = quantise(&floats[..count], self.factor, &mut integers[..count]);
            // the sum is exact as far as the limit (far below 2^53) and monotone beyond it
            if block.is_nan() || block > limit as f64 {
                return Err(self.refusal(&floats[..count], offset));
            }
            squares += block as u128;
            if squares > limit {
                return Err(UpdateError::NormTooLarge {
                    clip: self.clip,
                    bound: self.bound,
                });
            }
            consume(offset, &integers[..count]);
        }
        if squares == 0 {
            Err(UpdateError::AllZero)
        } else {
            Ok(())
        }
    }

    /// Names what is wrong with a block that failed its check.
    fn refusal(&self, values: &[f32], offset: usize) -> UpdateError {
        match values.iter().position(|value| !value.is_finite()) {
            Some(position) => UpdateError::NotFinite {
                index: offset + position,
            },
            None => UpdateError::NormTooLarge {
                clip: self.clip,
                bound: self.bound,
            },
        }
    }
}

impl Contribution {
    /// The integers, one per parameter, each at most the bound in magnitude.
    pub fn values(&self) -> &[i32] {
        &self.values
    }
}

impl fmt::Debug for Contribution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Contribution({} values)", self.values.len())
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

/// Rounds `values * factor` to the nearest integers and returns their sum of squares.
///
/// The result is exact when it is at most 2^53. It is larger than that, infinite or NaN whenever a
/// value is out of the range in which `integers` is meaningful.
fn quantise(values: &[f32], factor: f64, integers: &mut [i32]) -> f64 {
    let mut squares = [0.0f64; LANES];
    let (value_chunks, value_rest) = values.as_chunks::<LANES>();
    let (integer_chunks, integer_rest) = integers.as_chunks_mut::<LANES>();
    for (values, integers) in value_chunks.iter().zip(integer_chunks) {
        for lane in 0..LANES {
            let shifted = f64::from(values[lane]) * factor + ROUNDER;
            let rounded = shifted - ROUNDER;
            integers[lane] = shifted.to_bits() as i32;
            squares[lane] += rounded * rounded;
        }
    }
    for (&value, integer) in value_rest.iter().zip(integer_rest) {
        let shifted = f64::from(value) * factor + ROUNDER;
        let rounded = shifted - ROUNDER;
        *integer = shifted.to_bits() as i32;
        squares[0] += rounded * rounded;
    }
    squares.iter().sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(values: &[f32]) -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }

    #[test]
    fn the_bound_is_the_scale_plus_half_the_root_of_the_dimension() {
        for (dimension, extra) in [(1, 1), (4, 1), (5, 2), (16, 2), (17, 3), (1_000_000, 500)] {
            assert_eq!(
                FixedPoint::new(1.0, dimension).unwrap().bound(),
                SCALE + extra
            );
        }
        assert!(FixedPoint::new(1.0, MAX_DIMENSION).unwrap().bound() < MAX_MAGNITUDE);
    }

    #[test]
    fn values_are_rounded_to_the_nearest_grid_step() {
        let fixed = FixedPoint::new(2.0, 4).unwrap();
        let step = fixed.step() as f32;
        let bytes = encode(&[step * 0.4, step * 0.6, -step * 7.0, 1.5]);
        let contribution = fixed.contribution(Codec::F32, &bytes).unwrap();
        assert_eq!(contribution.values(), [0, 1, -7, 786_432]);
    }

    #[test]
    fn the_norm_check_is_exact_to_one_unit() {
        // S + 1 in one place is exactly the bound for d = 1; the next value up is over it
        let fixed = FixedPoint::new(1.0, 1).unwrap();
        let step = 1.0 / SCALE as f32;
        assert!(
            fixed
                .contribution(Codec::F32, &encode(&[1.0 + step]))
                .is_ok()
        );
        assert_eq!(
            fixed.contribution(Codec::F32, &encode(&[1.0 + 2.0 * step])),
            Err(UpdateError::NormTooLarge {
                clip: 1.0,
                bound: SCALE + 1
            })
        );
    }

    #[test]
    fn a_norm_that_grows_over_many_blocks_is_refused() {
        let fixed = FixedPoint::new(1.0, 4 * BLOCK).unwrap();
        let each = 1.01 / (4.0 * BLOCK as f32).sqrt();
        let refused = fixed.contribution(Codec::F32, &encode(&vec![each; 4 * BLOCK]));
        assert!(matches!(refused, Err(UpdateError::NormTooLarge { .. })));
    }

    #[test]
    fn zero_short_long_and_non_finite_updates_are_refused() {
        let fixed = FixedPoint::new(1.0, 3000).unwrap();
        let zero = fixed.contribution(Codec::F32, &encode(&vec![0.0; 3000]));
        assert_eq!(zero, Err(UpdateError::AllZero));
        let dust = fixed.contribution(Codec::F32, &encode(&vec![1e-9; 3000]));
        assert_eq!(dust, Err(UpdateError::AllZero));
        for length in [0, 11_999, 12_001, 24_000] {
            let refused = fixed.contribution(Codec::F32, &vec![0; length]);
            assert!(matches!(refused, Err(UpdateError::WrongLength { .. })));
        }
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = vec![1e-4; 3000];
            values[2500] = bad;
            let refused = fixed.contribution(Codec::F32, &encode(&values));
            assert_eq!(refused, Err(UpdateError::NotFinite { index: 2500 }));
        }
    }

    #[test]
    fn huge_finite_values_are_refused_as_too_large() {
        for clip in [1e-12, 1.0, 1e12] {
            let fixed = FixedPoint::new(clip, 2).unwrap();
            for huge in [f32::MAX, f32::MIN, clip * 3e9, clip * 1e15] {
                let refused = fixed.contribution(Codec::F32, &encode(&[huge, 0.0]));
                assert!(
                    matches!(refused, Err(UpdateError::NormTooLarge { .. })),
                    "{clip} {huge}"
                );
            }
        }
    }

    #[test]
    fn debug_output_shows_no_value() {
        let fixed = FixedPoint::new(1.0, 1).unwrap();
        let contribution = fixed.contribution(Codec::F32, &encode(&[0.5])).unwrap();
        assert_eq!(format!("{contribution:?}"), "Contribution(1 values)");
    }

    proptest! {
        #[test]
        fn any_byte_string_is_bounded_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
            clip in 1e-12f32..1e12,
        ) {
            for (codec, width) in [(Codec::F32, 4), (Codec::F16, 2), (Codec::BF16, 2)] {
                let dimension = (bytes.len() / width).max(1);
                let fixed = FixedPoint::new(clip, dimension).unwrap();
                if let Ok(contribution) = fixed.contribution(codec, &bytes) {
                    let squares: u128 = contribution
                        .values()
                        .iter()
                        .map(|&q| u128::from(q.unsigned_abs()).pow(2))
                        .sum();
                    prop_assert!(squares <= u128::from(fixed.bound()).pow(2));
                    prop_assert!(squares > 0);
                }
            }
        }

        #[test]
        fn accepted_integers_are_the_nearest_to_the_scaled_values(
            values in prop::collection::vec(-0.9f32..0.9, 1..40),
            spread in 1.0f32..8.0,
        ) {
            let clip = spread * (values.len() as f32).sqrt();
            let fixed = FixedPoint::new(clip, values.len()).unwrap();
            if let Ok(contribution) = fixed.contribution(Codec::F32, &encode(&values)) {
                for (&value, &q) in values.iter().zip(contribution.values()) {
                    let exact = f64::from(value) * SCALE as f64 / f64::from(clip);
                    prop_assert!((exact - f64::from(q)).abs() <= 0.5 + 1e-9);
                }
            }
        }

        #[test]
        fn the_bound_decides_exactly_as_integer_arithmetic_does(
            direction in prop::collection::vec(-100i32..100, 1..2100),
            slack in -40i64..40,
        ) {
            // integer vectors near the bound, sent as exact grid points
            let fixed = FixedPoint::new(1.0, direction.len()).unwrap();
            let norm = direction.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
            prop_assume!(norm > 0.0);
            let target = fixed.bound() as f64 + slack as f64;
            let grid: Vec<f32> =
                direction.iter().map(|&v| (f64::from(v) / norm * target).round() as f32).collect();
            let squares: u128 = grid.iter().map(|&q| (q.abs() as u128).pow(2)).sum();
            let values: Vec<f32> = grid.iter().map(|q| q / SCALE as f32).collect();
            let outcome = fixed.contribution(Codec::F32, &encode(&values));
            prop_assert_eq!(outcome.is_ok(), squares <= u128::from(fixed.bound()).pow(2));
        }
    }
}
