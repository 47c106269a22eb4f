//! The loop: several updates side by side, each value scaled, rounded, added and squared.

use super::constants::{CEILING, ROUNDER};
use super::encoding::Encoding;
use super::pieces::Pieces;
use super::registers::{Kernel, WIDEST, unaligned, zip};

/// Registers per step: so many of one stream are added before the next stream's turn comes.
const STEP: usize = 4;

/// Values in the narrow registers that the ends of the sums go through.
const NARROW: usize = 4;

/// Steps of the narrowest registers whose squares are added in `f32`. A quarter of it costs a
/// twentieth of the time that eight updates side by side take.
pub(crate) const STEPS_AT_ONCE: usize = 1024;

/// Squares of one stream, in as many places as the loop keeps apart: those of wide registers, of
/// narrow ones, and of single values.
pub(super) type Lanes = [f64; WIDEST + 2 * NARROW];

pub(super) const NO_SQUARES: Lanes = [0.0; WIDEST + 2 * NARROW];

/// The same stretch of `S` updates, and the sums that they are added to or taken away from, as many
/// as each update has values.
pub(super) struct Streams<'a, P, const S: usize, const SUBTRACT: bool> {
    pub updates: [P; S],
    pub sums: &'a mut [i32],
    pub squares: &'a mut [Lanes; S],
}

impl<'a, P: Pieces<'a> + 'a, const S: usize, const SUBTRACT: bool> Kernel
    for Streams<'_, P, S, SUBTRACT>
{
    #[inline(always)]
    fn lanes<const W: usize>(self) {
        let mut wide = [[0.0; W]; S];
        let mut narrow = [[0.0; NARROW]; S];
        let mut single = [[0.0; 1]; S];
        let length = self.updates[0].length();
        for (number, sums) in self.sums.chunks_mut(length).enumerate() {
            let pieces = self.updates.each_ref().map(|update| update.piece(number));
            let mut rest = Rest::<P::Encoding, S, SUBTRACT> {
                values: pieces.each_ref().map(|piece| piece.values),
                factors: pieces.each_ref().map(|piece| piece.factor),
                weights: pieces.map(|piece| piece.weight),
                sums,
            };
            let mut head = rest.split(unaligned::<W>(rest.sums));
            head.steps::<NARROW, 1>(&mut narrow);
            head.steps::<1, 1>(&mut single);
            rest.steps::<W, STEP>(&mut wide);
            rest.steps::<W, 1>(&mut wide);
            rest.steps::<NARROW, 1>(&mut narrow);
            rest.steps::<1, 1>(&mut single);
        }
        for (stream, squares) in self.squares.iter_mut().enumerate() {
            squares[..W].copy_from_slice(&wide[stream]);
            squares[WIDEST..][..NARROW].copy_from_slice(&narrow[stream]);
            squares[WIDEST + NARROW] = single[stream][0];
        }
    }
}

/// What has not been added yet of one piece.
struct Rest<'a, 's, E: Encoding, const S: usize, const SUBTRACT: bool> {
    values: [&'a [E::Raw]; S],
    factors: [f32; S],
    weights: [f64; S],
    sums: &'s mut [i32],
}

impl<E: Encoding, const S: usize, const SUBTRACT: bool> Rest<'_, '_, E, S, SUBTRACT> {
    /// Takes the first `count` values off.
    #[inline(always)]
    fn split(&mut self, count: usize) -> Self {
        let (sums, rest) = std::mem::take(&mut self.sums).split_at_mut(count);
        self.sums = rest;
        let mut values = self.values;
        for (first, all) in values.iter_mut().zip(&mut self.values) {
            (*first, *all) = all.split_at(count);
        }
        Self {
            values,
            sums,
            ..*self
        }
    }

    /// Adds as many whole steps of `U` registers of `W` values as there are. All streams go through
    /// a step before the sums go back to memory.
    #[inline(always)]
    fn steps<const W: usize, const U: usize>(&mut self, all: &mut [[f64; W]; S]) {
        let whole = self.sums.len() / (W * U) * (W * U);
        let part = self.split(whole);
        let sums = part.sums.as_chunks_mut::<W>().0.as_chunks_mut::<U>().0;
        let values = part
            .values
            .map(|values| values.as_chunks::<W>().0.as_chunks::<U>().0);
        let every = const { STEPS_AT_ONCE * STEP * NARROW / (W * U) };
        for (sums, first) in sums.chunks_mut(every).zip((0..).step_by(every)) {
            let mut squares = [[0.0; W]; S];
            for (sums, number) in sums.iter_mut().zip(first..) {
                let mut lanes = *sums;
                for stream in 0..S {
                    let step = &values[stream][number];
                    let factor = [part.factors[stream]; W];
                    // summed up per step, so that steps need not wait for each other
                    let mut square = [0.0; W];
                    for register in 0..U {
                        let raw = &step[register];
                        take::<E, W, SUBTRACT>(raw, factor, &mut lanes[register], &mut square);
                    }
                    squares[stream] = zip(squares[stream], square, |a, b| a + b);
                }
                *sums = lanes;
            }
            add_squares(all, &squares, &part.weights);
        }
    }
}

/// Squares go on in `f64`, because a sum in `f32` loses a little more with every square. Lane by
/// lane: a sum over the lanes in the loop makes the compiler break its vectors apart.
#[inline(always)]
fn add_squares<const W: usize, const S: usize>(
    all: &mut [[f64; W]; S],
    squares: &[[f32; W]; S],
    weights: &[f64; S],
) {
    for stream in 0..S {
        for lane in 0..W {
            all[stream][lane] += f64::from(squares[stream][lane]) * weights[stream];
        }
    }
}

#[inline(always)]
fn load<E: Encoding, const W: usize>(raw: &[E::Raw; W]) -> [f32; W] {
    let mut out = [0.0; W];
    for lane in 0..W {
        out[lane] = E::read(raw[lane]);
    }
    out
}

/// Rounds `values * factor` to integers that stand in the low bits, adds these bits to `sums` or
/// takes them away, and adds the squares to `squares`.
///
/// NaN becomes [`CEILING`] before any bits are looked at: the bits of a NaN are not the same from one
/// computation to the next, and what is added must be subtracted again exactly.
#[inline(always)]
fn take<E: Encoding, const W: usize, const SUBTRACT: bool>(
    raw: &[E::Raw; W],
    factor: [f32; W],
    sums: &mut [i32; W],
    squares: &mut [f32; W],
) {
    let values = load::<E, W>(raw);
    let scaled = zip(values, factor, |value, factor| value * factor);
    // the order of this comparison sends NaN to the ceiling
    let finite = zip(scaled, [CEILING; W], |a, b| if a < b { a } else { b });
    let rounded = zip(finite, [ROUNDER; W], |a, b| a + b);
    for (sum, rounded) in sums.iter_mut().zip(rounded) {
        let bits = rounded.to_bits() as i32;
        *sum = if SUBTRACT {
            sum.wrapping_sub(bits)
        } else {
            sum.wrapping_add(bits)
        };
    }
    let root = if E::LEVELS {
        values
    } else {
        zip(rounded, [ROUNDER; W], |a, b| a - b)
    };
    let square = zip(root, root, |a, b| a * b);
    *squares = zip(*squares, square, |a, b| a + b);
}
