//! The inner loops: scale, round and add, with the squares for the norm check, in one pass.
//!
//! Written for the plainest target (four 32-bit lanes, no fused multiply-add). What profiling
//! showed, on ten million values of which neither update nor sums fit in a cache:
//! - a plain `y += a x` moves 12 bytes a value and waits for memory; an `i32` sum moves as many, an
//!   `i64` sum 20, so narrow lanes matter more than any instruction;
//! - the remaining cost is the number of instructions, because a core looks only a few hundred of
//!   them ahead and so finds fewer cache lines to wait for at once. Hence the float bits are added
//!   as they are, with their constant offset ([`BIAS`]), and one `min` stands for all checks;
//! - each step is written over four lanes and the squares leave through a reference to memory.
//!   When they were summed up on the spot the compiler broke the vectors apart, at twice the time;
//! - several waiting updates are fastest when four are read side by side: the sum stays in a
//!   register and four streams wait for memory together. One after another over a block that stays
//!   in the first-level cache was slower, since each change of stream stalls until the prefetcher
//!   has caught up; so was touching the lines of the next block beforehand. What remains is the time
//!   to read the updates: 0.5 of `y += a x` on an idle machine, 0.7 beside busy neighbours.

use crate::codec::BLOCK;

/// Values that the compiler puts into one vector register.
const WIDTH: usize = 4;

/// Independent squares of one block: few enough additions per lane for the error bound, and no
/// chain of additions that the processor would have to wait for.
const LANES: usize = 2 * WIDTH;

/// 1.5 * 2^23. Adding it to a magnitude below 2^22 rounds to the nearest integer, ties to even, and
/// leaves that integer in the low bits of the mantissa.
const ROUNDER: f32 = 12_582_912.0;

/// What the bits of a rounded value hold beside the integer. A lane to which n values were added
/// holds their sum plus n times this, all modulo 2^32.
pub(crate) const BIAS: i32 = ROUNDER.to_bits() as i32;

/// Larger scaled values become this one. Its square alone is above every bound squared.
const CEILING: f32 = 4_194_304.0;

/// Updates that [`add_four`] reads side by side.
pub(crate) const SIDE_BY_SIDE: usize = 4;

type Vector = [f32; WIDTH];

/// Four lanes through `f`; a loop over an array, so that the compiler sees one vector instruction.
#[inline(always)]
fn zip(left: Vector, right: Vector, f: impl Fn(f32, f32) -> f32) -> Vector {
    let mut out = [0.0; WIDTH];
    for lane in 0..WIDTH {
        out[lane] = f(left[lane], right[lane]);
    }
    out
}

/// `values * factor`, rounded to integers that stand in the low bits.
///
/// NaN becomes [`CEILING`] here, before any bits are looked at: the bits of a NaN are not the same
/// from one computation to the next, and what is added must be subtracted again exactly.
#[inline(always)]
fn round(values: Vector, factor: Vector) -> Vector {
    let scaled = zip(values, factor, |value, factor| value * factor);
    // the order of this comparison sends NaN to the ceiling
    let finite = zip(scaled, [CEILING; WIDTH], |a, b| if a < b { a } else { b });
    zip(finite, [ROUNDER; WIDTH], |a, b| a + b)
}

/// Adds the bits of `rounded` to `sums` or takes them away, and its squares to `squares`.
#[inline(always)]
fn take<const SUBTRACT: bool>(rounded: Vector, sums: &mut [i32; WIDTH], squares: &mut Vector) {
    add_bits::<SUBTRACT>(rounded, sums);
    let integer = zip(rounded, [ROUNDER; WIDTH], |a, b| a - b);
    let square = zip(integer, integer, |a, b| a * b);
    *squares = zip(*squares, square, |a, b| a + b);
}

#[inline(always)]
fn load<T: Copy>(values: &[T; WIDTH], read: impl Fn(T) -> f32) -> Vector {
    let mut out = [0.0; WIDTH];
    for lane in 0..WIDTH {
        out[lane] = read(values[lane]);
    }
    out
}

/// Rounds one block of values and adds it to `sums` (or subtracts it), whatever the values are.
/// Returns the sum of the squares of the integers, with the error that
/// [`SQUARES_ERROR`](super::norm::SQUARES_ERROR) states; infinite or far above every bound when a
/// value is NaN, infinite or too large.
pub(crate) fn add<T: Copy, const SUBTRACT: bool>(
    values: &[T],
    read: impl Fn(T) -> f32 + Copy,
    factor: f32,
    sums: &mut [i32],
) -> f64 {
    let mut squares = [0.0; LANES];
    add_lanes::<T, SUBTRACT>(values, read, factor, sums, &mut squares);
    total(&squares)
}

#[inline(never)]
fn add_lanes<T: Copy, const SUBTRACT: bool>(
    values: &[T],
    read: impl Fn(T) -> f32 + Copy,
    factor: f32,
    sums: &mut [i32],
    squares: &mut [f32; LANES],
) {
    let [mut even, mut odd] = [[0.0; WIDTH]; 2];
    let factor = [factor; WIDTH];
    let (values, values_rest) = values.as_chunks::<LANES>();
    let (sums, sums_rest) = sums.as_chunks_mut::<LANES>();
    for (values, sums) in values.iter().zip(sums) {
        let ([v0, v1], _) = values.as_chunks::<WIDTH>() else {
            continue;
        };
        let ([s0, s1], _) = sums.as_chunks_mut::<WIDTH>() else {
            continue;
        };
        take::<SUBTRACT>(round(load(v0, read), factor), s0, &mut even);
        take::<SUBTRACT>(round(load(v1, read), factor), s1, &mut odd);
    }
    add_rest::<T, SUBTRACT>(values_rest, read, factor, sums_rest, &mut even);
    squares[..WIDTH].copy_from_slice(&even);
    squares[WIDTH..].copy_from_slice(&odd);
}

/// The last values of a vector whose length is no multiple of the lanes: padded with zeros.
#[inline(never)]
fn add_rest<T: Copy, const SUBTRACT: bool>(
    values: &[T],
    read: impl Fn(T) -> f32,
    factor: Vector,
    sums: &mut [i32],
    squares: &mut Vector,
) {
    for (values, sums) in values.chunks(WIDTH).zip(sums.chunks_mut(WIDTH)) {
        let mut vector = [0.0; WIDTH];
        let mut padded = [0; WIDTH];
        for (place, &value) in vector.iter_mut().zip(values) {
            *place = read(value);
        }
        padded[..sums.len()].copy_from_slice(sums);
        take::<SUBTRACT>(round(vector, factor), &mut padded, squares);
        sums.copy_from_slice(&padded[..sums.len()]);
    }
}

/// [`add`] for four updates at once, each with its own factor.
pub(crate) fn add_four(
    values: [&[[u8; 4]]; SIDE_BY_SIDE],
    factors: [f32; SIDE_BY_SIDE],
    sums: &mut [i32],
) -> [f64; SIDE_BY_SIDE] {
    let mut squares = [[0.0; WIDTH]; SIDE_BY_SIDE];
    add_four_lanes(values, factors, sums, &mut squares);
    squares.map(|squares| total(&squares))
}

#[inline(never)]
fn add_four_lanes(
    values: [&[[u8; 4]]; SIDE_BY_SIDE],
    factors: [f32; SIDE_BY_SIDE],
    sums: &mut [i32],
    squares: &mut [Vector; SIDE_BY_SIDE],
) {
    let read = f32::from_le_bytes;
    let [f0, f1, f2, f3] = factors.map(|factor| [factor; WIDTH]);
    let [mut q0, mut q1, mut q2, mut q3] = [[0.0; WIDTH]; SIDE_BY_SIDE];
    let [v0, v1, v2, v3] = values.map(|values| values.as_chunks::<WIDTH>().0);
    let (whole, rest) = sums.as_chunks_mut::<WIDTH>();
    for ((((sums, v0), v1), v2), v3) in whole.iter_mut().zip(v0).zip(v1).zip(v2).zip(v3) {
        let mut sum = *sums;
        take::<false>(round(load(v0, read), f0), &mut sum, &mut q0);
        take::<false>(round(load(v1, read), f1), &mut sum, &mut q1);
        take::<false>(round(load(v2, read), f2), &mut sum, &mut q2);
        take::<false>(round(load(v3, read), f3), &mut sum, &mut q3);
        *sums = sum;
    }
    let [r0, r1, r2, r3] = values.map(|values| values.as_chunks::<WIDTH>().1);
    add_rest::<_, false>(r0, read, f0, rest, &mut q0);
    add_rest::<_, false>(r1, read, f1, rest, &mut q1);
    add_rest::<_, false>(r2, read, f2, rest, &mut q2);
    add_rest::<_, false>(r3, read, f3, rest, &mut q3);
    *squares = [q0, q1, q2, q3];
}

/// Rounds one block of 8-bit levels times `factor` and adds it to `sums` (or subtracts it),
/// whatever the factor is. Returns factor^2 times the sum of squared levels, which is exact but for
/// the last product: lanes of integers below 2^22.
pub(crate) fn add_levels<const SUBTRACT: bool>(
    levels: &[u8],
    factor: f32,
    sums: &mut [i32],
) -> f64 {
    let mut squares = [0.0; LANES];
    if factor.abs() < CEILING / 128.0 {
        add_level_lanes::<SUBTRACT>(levels, factor, sums, &mut squares);
    } else {
        // far outside what an encoder sends, or NaN: with the check of every value
        add_lanes::<u8, SUBTRACT>(levels, level, factor, sums, &mut [0.0; LANES]);
        let unused = &mut [0; BLOCK][..levels.len()];
        add_lanes::<u8, false>(levels, level, 1.0, unused, &mut squares);
    }
    f64::from(factor) * f64::from(factor) * total(&squares)
}

fn level(byte: u8) -> f32 {
    f32::from(byte as i8)
}

/// The usual case of [`add_levels`]: no product can be NaN or reach the ceiling.
#[inline(never)]
fn add_level_lanes<const SUBTRACT: bool>(
    levels: &[u8],
    factor: f32,
    sums: &mut [i32],
    squares: &mut [f32; LANES],
) {
    let [mut even, mut odd] = [[0.0; WIDTH]; 2];
    let (levels, levels_rest) = levels.as_chunks::<LANES>();
    let (sums, sums_rest) = sums.as_chunks_mut::<LANES>();
    for (levels, sums) in levels.iter().zip(sums) {
        let ([l0, l1], _) = levels.as_chunks::<WIDTH>() else {
            continue;
        };
        let ([s0, s1], _) = sums.as_chunks_mut::<WIDTH>() else {
            continue;
        };
        take_levels::<SUBTRACT>(load(l0, level), factor, s0, &mut even);
        take_levels::<SUBTRACT>(load(l1, level), factor, s1, &mut odd);
    }
    for (levels, sums) in levels_rest.chunks(WIDTH).zip(sums_rest.chunks_mut(WIDTH)) {
        let mut padded_levels = [0; WIDTH];
        let mut padded = [0; WIDTH];
        padded_levels[..levels.len()].copy_from_slice(levels);
        padded[..sums.len()].copy_from_slice(sums);
        take_levels::<SUBTRACT>(load(&padded_levels, level), factor, &mut padded, &mut even);
        sums.copy_from_slice(&padded[..sums.len()]);
    }
    squares[..WIDTH].copy_from_slice(&even);
    squares[WIDTH..].copy_from_slice(&odd);
}

#[inline(always)]
fn take_levels<const SUBTRACT: bool>(
    levels: Vector,
    factor: f32,
    sums: &mut [i32; WIDTH],
    squares: &mut Vector,
) {
    let scaled = zip(levels, [factor; WIDTH], |level, factor| level * factor);
    let rounded = zip(scaled, [ROUNDER; WIDTH], |a, b| a + b);
    add_bits::<SUBTRACT>(rounded, sums);
    let square = zip(levels, levels, |a, b| a * b);
    *squares = zip(*squares, square, |a, b| a + b);
}

/// Adds the bits of `rounded` to `sums` or takes them away.
#[inline(always)]
fn add_bits<const SUBTRACT: bool>(rounded: Vector, sums: &mut [i32; WIDTH]) {
    for (sum, rounded) in sums.iter_mut().zip(rounded) {
        let bits = rounded.to_bits() as i32;
        *sum = if SUBTRACT {
            sum.wrapping_sub(bits)
        } else {
            sum.wrapping_add(bits)
        };
    }
}

/// Kept out of the loops: seen together with them it makes the compiler split their vectors.
#[inline(never)]
fn total(squares: &[f32]) -> f64 {
    squares.iter().map(|&square| f64::from(square)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_any_count_are_rounded_added_and_squared() {
        for count in [1, 3, 4, 7, 8, 9, 17, 466, 1023, BLOCK] {
            let levels: Vec<u8> = (0..count).map(|index| (index * 37 + 128) as u8).collect();
            for factor in [0.37f32, -3.6, 40_000.0] {
                let mut sums = vec![0; count];
                let squares = add_levels::<false>(&levels, factor, &mut sums);
                let mut expected = 0.0;
                for (&byte, sum) in levels.iter().zip(&sums) {
                    let x = level(byte) * factor;
                    if x.abs() < CEILING {
                        let rounded = x.round_ties_even() as i32;
                        assert_eq!(sum.wrapping_sub(BIAS), rounded, "{count} {factor}");
                    }
                    expected += f64::from(level(byte)).powi(2);
                }
                expected *= f64::from(factor).powi(2);
                assert!(
                    (squares - expected).abs() <= 1e-12 * expected,
                    "{count} {factor}"
                );
                add_levels::<true>(&levels, factor, &mut sums);
                assert!(sums.iter().all(|&sum| sum == 0));
            }
        }
    }
}
