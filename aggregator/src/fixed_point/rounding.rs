//! The inner loops: scale, round and add, with the squares for the norm check, in one pass.
//!
//! Written over arrays of four to sixteen values, which the compiler puts into vector registers; the
//! processor that runs them decides which (`pulp` chooses at run time, without unsafe code here). The
//! integers are the same on all of them: there is no fused multiply-add, and only squares are added
//! in another order, within their stated error. What profiling showed, on ten million values of which
//! neither update nor sums fit in a cache:
//! - a plain `y += a x` moves 12 bytes a value and waits for memory; an `i32` sum moves as many, an
//!   `i64` sum 20, so narrow lanes matter more than any instruction;
//! - the remaining cost is the number of instructions, because a core looks only a few hundred of
//!   them ahead and so finds fewer cache lines to wait for at once. Hence the float bits are added
//!   as they are, with their constant offset ([`BIAS`]), and one `min` stands for all checks. Eight
//!   values to a register instead of four took a tenth off one update and a fifth off an int8 one;
//!   sixteen (AVX-512) another twentieth of both;
//! - the squares leave the loops through a reference to memory. When they were summed up on the spot
//!   the compiler broke the vectors apart, at twice the time;
//! - several waiting updates are fastest when four are read side by side: the sum stays in a
//!   register and four streams wait for memory together. One after another over a block that stays
//!   in the first-level cache was slower, since each change of stream stalls until the prefetcher
//!   has caught up; so were two or eight streams, and touching the lines of the next block beforehand.
//!   Sixteen blocks to a call instead of one took off a tenth more: 1.7 to 1.9 ms an update, where
//!   `y += a x` takes 2.3 to 2.6. Four streams are read at 24 to 26 GB/s, its two at 31 (also when it
//!   goes through eight arrays in turn, so that no cache helps it).

use pulp::{Arch, Simd, WithSimd};

use crate::codec::BLOCK;

/// Values in the widest vector register that is made use of.
const WIDEST: usize = 16;

/// Squares of one block, in as many places as any loop keeps apart.
type Lanes = [f32; 2 * WIDEST];

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

/// A loop that is written once for registers of any width.
trait Kernel {
    /// The loop over `W` values at a time.
    fn lanes<const W: usize>(self);
}

/// A kernel for the registers of this processor.
struct Widest<K>(K);

impl<K: Kernel> WithSimd for Widest<K> {
    type Output = ();

    // inlined, so that the loop is compiled with the instructions that were found
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match S::F32_LANES {
            WIDEST.. => self.0.lanes::<WIDEST>(),
            8.. => self.0.lanes::<8>(),
            _ => self.0.lanes::<4>(),
        }
    }
}

#[inline(always)]
fn run(kernel: impl Kernel) {
    Arch::new().dispatch(Widest(kernel));
}

/// All lanes through `f`; a loop over an array, so that the compiler sees one vector instruction.
#[inline(always)]
fn zip<const W: usize>(left: [f32; W], right: [f32; W], f: impl Fn(f32, f32) -> f32) -> [f32; W] {
    let mut out = [0.0; W];
    for lane in 0..W {
        out[lane] = f(left[lane], right[lane]);
    }
    out
}

/// `values * factor`, rounded to integers that stand in the low bits.
///
/// NaN becomes [`CEILING`] here, before any bits are looked at: the bits of a NaN are not the same
/// from one computation to the next, and what is added must be subtracted again exactly.
#[inline(always)]
fn round<const W: usize>(values: [f32; W], factor: [f32; W]) -> [f32; W] {
    let scaled = zip(values, factor, |value, factor| value * factor);
    // the order of this comparison sends NaN to the ceiling
    let finite = zip(scaled, [CEILING; W], |a, b| if a < b { a } else { b });
    zip(finite, [ROUNDER; W], |a, b| a + b)
}

/// Adds the bits of `rounded` to `sums` or takes them away, and its squares to `squares`.
#[inline(always)]
fn take<const W: usize, const SUBTRACT: bool>(
    rounded: [f32; W],
    sums: &mut [i32; W],
    squares: &mut [f32; W],
) {
    add_bits::<W, SUBTRACT>(rounded, sums);
    let integer = zip(rounded, [ROUNDER; W], |a, b| a - b);
    let square = zip(integer, integer, |a, b| a * b);
    *squares = zip(*squares, square, |a, b| a + b);
}

#[inline(always)]
fn load<T: Copy, const W: usize>(values: &[T; W], read: impl Fn(T) -> f32) -> [f32; W] {
    let mut out = [0.0; W];
    for lane in 0..W {
        out[lane] = read(values[lane]);
    }
    out
}

/// Rounds one block of values and adds it to `sums` (or subtracts it), whatever the values are.
/// Returns the sum of the squares of the integers, with the error that
/// [`Squares`](super::norm::Squares) states; infinite or far above every bound when a
/// value is NaN, infinite or too large.
pub(crate) fn add<T: Copy, const SUBTRACT: bool>(
    values: &[T],
    read: impl Fn(T) -> f32 + Copy,
    factor: f32,
    sums: &mut [i32],
) -> f64 {
    let mut squares = [0.0; 2 * WIDEST];
    run(Add::<_, _, SUBTRACT> {
        values,
        read,
        factor,
        sums,
        squares: &mut squares,
    });
    total(&squares)
}

/// The loop of [`add`].
struct Add<'a, T, R, const SUBTRACT: bool> {
    values: &'a [T],
    read: R,
    factor: f32,
    sums: &'a mut [i32],
    squares: &'a mut Lanes,
}

impl<T: Copy, R: Fn(T) -> f32 + Copy, const SUBTRACT: bool> Kernel for Add<'_, T, R, SUBTRACT> {
    #[inline(always)]
    fn lanes<const W: usize>(self) {
        let [mut even, mut odd] = [[0.0; W]; 2];
        let factor = [self.factor; W];
        let (values, values_rest) = self.values.as_chunks::<W>();
        let (sums, sums_rest) = self.sums.as_chunks_mut::<W>();
        let (value_pairs, value) = values.as_chunks::<2>();
        let (sum_pairs, sum) = sums.as_chunks_mut::<2>();
        for ([v0, v1], [s0, s1]) in value_pairs.iter().zip(sum_pairs) {
            take::<W, SUBTRACT>(round(load(v0, self.read), factor), s0, &mut even);
            take::<W, SUBTRACT>(round(load(v1, self.read), factor), s1, &mut odd);
        }
        for (value, sum) in value.iter().zip(sum) {
            take::<W, SUBTRACT>(round(load(value, self.read), factor), sum, &mut even);
        }
        add_rest::<T, W, SUBTRACT>(values_rest, self.read, factor, sums_rest, &mut odd);
        self.squares[..W].copy_from_slice(&even);
        self.squares[W..2 * W].copy_from_slice(&odd);
    }
}

/// The last values of a vector whose length is no multiple of the lanes: padded with zeros.
#[inline(always)]
fn add_rest<T: Copy, const W: usize, const SUBTRACT: bool>(
    values: &[T],
    read: impl Fn(T) -> f32,
    factor: [f32; W],
    sums: &mut [i32],
    squares: &mut [f32; W],
) {
    if values.is_empty() {
        return;
    }
    let mut vector = [0.0; W];
    let mut padded = [0; W];
    for (place, &value) in vector.iter_mut().zip(values) {
        *place = read(value);
    }
    padded[..sums.len()].copy_from_slice(sums);
    take::<W, SUBTRACT>(round(vector, factor), &mut padded, squares);
    sums.copy_from_slice(&padded[..sums.len()]);
}

/// [`add`] for four updates at once, each with its own factor.
pub(crate) fn add_four(
    values: [&[[u8; 4]]; SIDE_BY_SIDE],
    factors: [f32; SIDE_BY_SIDE],
    sums: &mut [i32],
) -> [f64; SIDE_BY_SIDE] {
    let mut squares = [[0.0; 2 * WIDEST]; SIDE_BY_SIDE];
    run(AddFour {
        values,
        factors,
        sums,
        squares: &mut squares,
    });
    squares.map(|squares| total(&squares))
}

/// The loop of [`add_four`].
struct AddFour<'a> {
    values: [&'a [[u8; 4]]; SIDE_BY_SIDE],
    factors: [f32; SIDE_BY_SIDE],
    sums: &'a mut [i32],
    squares: &'a mut [Lanes; SIDE_BY_SIDE],
}

impl Kernel for AddFour<'_> {
    #[inline(always)]
    fn lanes<const W: usize>(self) {
        let read = f32::from_le_bytes;
        let [f0, f1, f2, f3] = self.factors.map(|factor| [factor; W]);
        let [mut q0, mut q1, mut q2, mut q3] = [[0.0; W]; SIDE_BY_SIDE];
        let [v0, v1, v2, v3] = self.values.map(|values| values.as_chunks::<W>().0);
        let (whole, rest) = self.sums.as_chunks_mut::<W>();
        for ((((sums, v0), v1), v2), v3) in whole.iter_mut().zip(v0).zip(v1).zip(v2).zip(v3) {
            let mut sum = *sums;
            take::<W, false>(round(load(v0, read), f0), &mut sum, &mut q0);
            take::<W, false>(round(load(v1, read), f1), &mut sum, &mut q1);
            take::<W, false>(round(load(v2, read), f2), &mut sum, &mut q2);
            take::<W, false>(round(load(v3, read), f3), &mut sum, &mut q3);
            *sums = sum;
        }
        let [r0, r1, r2, r3] = self.values.map(|values| values.as_chunks::<W>().1);
        add_rest::<_, W, false>(r0, read, f0, rest, &mut q0);
        add_rest::<_, W, false>(r1, read, f1, rest, &mut q1);
        add_rest::<_, W, false>(r2, read, f2, rest, &mut q2);
        add_rest::<_, W, false>(r3, read, f3, rest, &mut q3);
        for (squares, q) in self.squares.iter_mut().zip([q0, q1, q2, q3]) {
            squares[..W].copy_from_slice(&q);
        }
    }
}

/// Rounds one block of 8-bit levels times `factor` and adds it to `sums` (or subtracts it),
/// whatever the factor is. Returns factor^2 times the sum of squared levels, which is exact but for
/// the last product: lanes of integers below 2^22.
pub(crate) fn add_levels<const SUBTRACT: bool>(
    levels: &[u8],
    factor: f32,
    sums: &mut [i32],
) -> f64 {
    let mut squares = [0.0; 2 * WIDEST];
    if factor.abs() < CEILING / 128.0 {
        run(AddLevels::<SUBTRACT> {
            levels,
            factor,
            sums,
            squares: &mut squares,
        });
    } else {
        // far outside what an encoder sends, or NaN: with the check of every value
        add::<u8, SUBTRACT>(levels, level, factor, sums);
        let unused = &mut [0; BLOCK][..levels.len()];
        run(AddLevels::<false> {
            levels,
            factor: 1.0,
            sums: unused,
            squares: &mut squares,
        });
    }
    f64::from(factor) * f64::from(factor) * total(&squares)
}

#[inline(always)]
fn level(byte: u8) -> f32 {
    f32::from(byte as i8)
}

/// The usual case of [`add_levels`]: no product can be NaN or reach the ceiling.
struct AddLevels<'a, const SUBTRACT: bool> {
    levels: &'a [u8],
    factor: f32,
    sums: &'a mut [i32],
    squares: &'a mut Lanes,
}

impl<const SUBTRACT: bool> Kernel for AddLevels<'_, SUBTRACT> {
    #[inline(always)]
    fn lanes<const W: usize>(self) {
        let [mut even, mut odd] = [[0.0; W]; 2];
        let factor = [self.factor; W];
        let (levels, levels_rest) = self.levels.as_chunks::<W>();
        let (sums, sums_rest) = self.sums.as_chunks_mut::<W>();
        let (level_pairs, last_levels) = levels.as_chunks::<2>();
        let (sum_pairs, last_sums) = sums.as_chunks_mut::<2>();
        for ([l0, l1], [s0, s1]) in level_pairs.iter().zip(sum_pairs) {
            take_levels::<W, SUBTRACT>(load(l0, level), factor, s0, &mut even);
            take_levels::<W, SUBTRACT>(load(l1, level), factor, s1, &mut odd);
        }
        for (levels, sums) in last_levels.iter().zip(last_sums) {
            take_levels::<W, SUBTRACT>(load(levels, level), factor, sums, &mut even);
        }
        if !levels_rest.is_empty() {
            let (mut padded_levels, mut padded) = ([0; W], [0; W]);
            padded_levels[..levels_rest.len()].copy_from_slice(levels_rest);
            padded[..sums_rest.len()].copy_from_slice(sums_rest);
            let values = load(&padded_levels, level);
            take_levels::<W, SUBTRACT>(values, factor, &mut padded, &mut odd);
            sums_rest.copy_from_slice(&padded[..sums_rest.len()]);
        }
        self.squares[..W].copy_from_slice(&even);
        self.squares[W..2 * W].copy_from_slice(&odd);
    }
}

#[inline(always)]
fn take_levels<const W: usize, const SUBTRACT: bool>(
    levels: [f32; W],
    factor: [f32; W],
    sums: &mut [i32; W],
    squares: &mut [f32; W],
) {
    let scaled = zip(levels, factor, |level, factor| level * factor);
    let rounded = zip(scaled, [ROUNDER; W], |a, b| a + b);
    add_bits::<W, SUBTRACT>(rounded, sums);
    let square = zip(levels, levels, |a, b| a * b);
    *squares = zip(*squares, square, |a, b| a + b);
}

/// Adds the bits of `rounded` to `sums` or takes them away.
#[inline(always)]
fn add_bits<const W: usize, const SUBTRACT: bool>(rounded: [f32; W], sums: &mut [i32; W]) {
    for (sum, rounded) in sums.iter_mut().zip(rounded) {
        let bits = rounded.to_bits() as i32;
        *sum = if SUBTRACT {
            sum.wrapping_sub(bits)
        } else {
            sum.wrapping_add(bits)
        };
    }
}

/// Kept out of the loops: seen together with them it makes the compiler split their vectors. In four
/// sums side by side, because one after another the additions wait for each other, once a block.
#[inline(never)]
fn total(squares: &Lanes) -> f64 {
    let mut sums = [0.0; 4];
    for squares in squares.as_chunks::<4>().0 {
        for (sum, &square) in sums.iter_mut().zip(squares) {
            *sum += f64::from(square);
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3])
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
