//! An update as blocks that can be rounded and added one at a time.

use super::norm::Squares;
use super::rounding::{self, BIAS, SIDE_BY_SIDE};
use crate::codec::{BLOCK, BlockScheme, Codec};
use crate::error::UpdateError;

/// An update of the right length, by the way its blocks are read.
pub(crate) enum EncodedBlocks<'b> {
    /// Little endian `f32`, read in place.
    F32(&'b [[u8; 4]]),
    /// Bytes in which every block has its place: read in place for int8, else a block is decoded
    /// into the first-level cache first.
    Blocks(BlockScheme, &'b [u8]),
    /// Values of a codec that is only decoded as a whole.
    Whole(Vec<f32>),
}

impl<'b> EncodedBlocks<'b> {
    /// Takes `bytes` as `dimension` values.
    ///
    /// # Errors
    /// [`UpdateError::WrongLength`] before anything is allocated; for codecs that are decoded as a
    /// whole also what [`Codec::decode_into`] returns.
    pub(crate) fn new(
        codec: Codec,
        bytes: &'b [u8],
        dimension: usize,
    ) -> Result<Self, UpdateError> {
        codec.check_length(bytes.len(), dimension)?;
        Ok(match codec.block_scheme() {
            Some(BlockScheme::F32) => Self::F32(bytes.as_chunks().0),
            Some(scheme) => Self::Blocks(scheme, bytes),
            None => {
                let mut values = vec![0.0; dimension];
                codec.decode_into(bytes, &mut values)?;
                Self::Whole(values)
            }
        })
    }

    /// The squares of no block at all.
    pub(crate) fn no_squares(&self) -> Squares {
        match self {
            Self::Blocks(BlockScheme::Int8, _) => Squares::BeforeRounding(0.0),
            _ => Squares::OfIntegers(0.0),
        }
    }

    /// Rounds block `number` and adds it to `sums`, one lane per value of the block, [`BIAS`]
    /// included; or takes the same away. Whatever the bytes are, a block that was added and then
    /// subtracted leaves no trace.
    pub(crate) fn add<const SUBTRACT: bool>(
        &self,
        number: usize,
        factor: f32,
        sums: &mut [i32],
        squares: &mut Squares,
    ) {
        let added = match self {
            Self::F32(values) => {
                let values = block(values, number, BLOCK, sums.len());
                rounding::add::<_, SUBTRACT>(values, f32::from_le_bytes, factor, sums)
            }
            Self::Whole(values) => {
                let values = block(values, number, BLOCK, sums.len());
                rounding::add::<f32, SUBTRACT>(values, |value| value, factor, sums)
            }
            Self::Blocks(BlockScheme::Int8, bytes) => {
                let length = BlockScheme::Int8.block_len(BLOCK);
                let block = block(bytes, number, length, length);
                let (scale, levels) = block.split_first_chunk().unwrap_or((&[0; 4], &[]));
                let factor = f32::from_le_bytes(*scale) * factor;
                rounding::add_levels::<SUBTRACT>(levels, factor, sums)
            }
            Self::Blocks(..) => {
                let mut floats = [0.0; BLOCK];
                let floats = &mut floats[..sums.len()];
                self.decode(number, floats);
                rounding::add::<f32, SUBTRACT>(floats, |value| value, factor, sums)
            }
        };
        squares.add(added);
    }

    /// The integers of block `number`.
    pub(crate) fn integers(&self, number: usize, factor: f32, integers: &mut [i32]) {
        integers.fill(BIAS.wrapping_neg());
        self.add::<false>(number, factor, integers, &mut self.no_squares());
    }

    /// The values of block `number` as the codec gives them.
    pub(crate) fn decode(&self, number: usize, values: &mut [f32]) {
        match self {
            Self::F32(raw) => {
                for (value, raw) in values.iter_mut().zip(block(raw, number, BLOCK, BLOCK)) {
                    *value = f32::from_le_bytes(*raw);
                }
            }
            Self::Whole(all) => {
                for (value, &known) in values.iter_mut().zip(block(all, number, BLOCK, BLOCK)) {
                    *value = known;
                }
            }
            Self::Blocks(scheme, bytes) => {
                let length = scheme.block_len(BLOCK);
                scheme.decode_block(block(bytes, number, length, length), values);
            }
        }
    }
}

/// Adds block `number` of four updates at once where their codec allows it; false when not.
pub(crate) fn add_four(
    updates: [&EncodedBlocks<'_>; SIDE_BY_SIDE],
    number: usize,
    factors: [f32; SIDE_BY_SIDE],
    sums: &mut [i32],
    squares: [&mut Squares; SIDE_BY_SIDE],
) -> bool {
    let [
        EncodedBlocks::F32(a),
        EncodedBlocks::F32(b),
        EncodedBlocks::F32(c),
        EncodedBlocks::F32(d),
    ] = updates
    else {
        return false;
    };
    let values = [a, b, c, d].map(|values| block(values, number, BLOCK, sums.len()));
    let added = rounding::add_four(values, factors, sums);
    for (squares, added) in squares.into_iter().zip(added) {
        squares.add(added);
    }
    true
}

impl Squares {
    fn add(&mut self, more: f64) {
        match self {
            Squares::OfIntegers(squares) | Squares::BeforeRounding(squares) => *squares += more,
        }
    }

    /// The sum over two parts of an update.
    pub(crate) fn plus(mut self, other: Squares) -> Squares {
        match other {
            Squares::OfIntegers(squares) | Squares::BeforeRounding(squares) => self.add(squares),
        }
        self
    }
}

/// The first `length` elements of block `number`, where a block has `size`; fewer at the end.
fn block<T>(all: &[T], number: usize, size: usize, length: usize) -> &[T] {
    let rest = all.get(number * size..).unwrap_or_default();
    &rest[..length.min(rest.len())]
}
