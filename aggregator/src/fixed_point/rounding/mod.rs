//! The inner loops: scale, round and add, with the squares for the norm check, in one pass.
//!
//! The integers are the same on every processor: there is no fused multiply-add, and only squares are
//! added in another order, within their stated error. What profiling showed, on ten million values of
//! which neither updates nor sums fit in a cache:
//! - a plain `y += a x` moves 12 bytes a value and waits for memory; an `i32` sum moves as many, an
//!   `i64` sum 20, so narrow lanes matter more than any instruction;
//! - the remaining cost is the number of instructions, because a core looks only a few hundred of
//!   them ahead and so finds fewer cache lines to wait for at once. Hence the float bits are added
//!   as they are, with their constant offset ([`BIAS`]), and one `min` stands for all checks. Eight
//!   values to a register instead of four took a tenth off one update and a fifth off an int8 one;
//!   sixteen (AVX-512) another twentieth of both;
//! - registers that are loaded across two lines of memory cost a tenth of the time. Vectors of this
//!   size begin sixteen bytes into a page, so the first values go through narrow registers;
//! - squares are added up per step first: in one chain each addition waits for the one before it,
//!   which cost an int8 update a tenth;
//! - eight waiting updates are fastest side by side, four registers of each at a time (256 bytes,
//!   which keeps each stream's prefetcher going): 1.35 to 1.5 ms an update where `y += a x` takes 2.3
//!   to 2.6. One register at a time, four updates, and one update after another over sums that stay
//!   in a cache took 1.6 to 1.8. Merely reading the eight (`accumulate/read_x8`) takes as long, so
//!   nothing is left to gain from the instructions;
//! - without effect on that: prefetch instructions (harmful when they run more than a step ahead),
//!   huge pages (they help `y += a x` as much), fused multiply-adds, and going through the sums
//!   backwards every second time.

mod constants;
mod encoding;
mod pieces;
mod registers;
mod streams;

#[cfg(test)]
mod tests;

pub(crate) use constants::BIAS;
pub(crate) use encoding::{Decoded, Encoding, LittleEndian};
pub(crate) use streams::STEPS_AT_ONCE;

use pieces::{Pieces, Plain, ScaledBlocks};
use registers::run;
use streams::{NO_SQUARES, Streams};

/// Rounds the values of `S` updates and adds them to `sums` (or subtracts them), whatever the values
/// are. Returns the sums of the squares of their integers, with the error that
/// [`Squares`](super::Squares) states; infinite or far above every bound when a value is NaN,
/// infinite or too large. All slices have one length.
pub(crate) fn add<E: Encoding, const S: usize, const SUBTRACT: bool>(
    values: [&[E::Raw]; S],
    factors: [f32; S],
    sums: &mut [i32],
) -> [f64; S] {
    let mut factors = factors.into_iter();
    let updates = values.map(|values| Plain::<E> {
        values,
        factor: factors.next().unwrap_or_default(),
    });
    squares_of::<_, S, SUBTRACT>(updates, sums)
}

/// [`add`] for whole blocks of 8-bit levels, each behind its scale, whatever these are. Returns the
/// sums of squares before rounding, which are exact but for the product of scale and factor: levels
/// are squared and added as integers below 2^22.
pub(crate) fn add_levels<const S: usize, const SUBTRACT: bool>(
    bytes: [&[u8]; S],
    factors: [f32; S],
    sums: &mut [i32],
) -> [f64; S] {
    let mut factors = factors.into_iter();
    let updates = bytes.map(|bytes| ScaledBlocks {
        bytes,
        factor: factors.next().unwrap_or_default(),
    });
    squares_of::<_, S, SUBTRACT>(updates, sums)
}

fn squares_of<'a, P: Pieces<'a> + 'a, const S: usize, const SUBTRACT: bool>(
    updates: [P; S],
    sums: &mut [i32],
) -> [f64; S] {
    let mut squares = [NO_SQUARES; S];
    run(Streams::<P, S, SUBTRACT> {
        updates,
        sums,
        squares: &mut squares,
    });
    squares.map(|squares| squares.iter().sum())
}
