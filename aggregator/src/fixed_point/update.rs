//! An update as blocks that can be rounded and added from any one on.

use tributary_privacy::VectorError;

use super::rounding::{self, BIAS, Decoded, LittleEndian};
use super::squares::Squares;
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

    /// The same, with a vector of zeros for bytes of the right length that can't be decoded.
    ///
    /// # Errors
    /// [`UpdateError::WrongLength`].
    pub(crate) fn new_or_zeros(
        codec: Codec,
        bytes: &'b [u8],
        dimension: usize,
    ) -> Result<Self, UpdateError> {
        match Self::new(codec, bytes, dimension) {
            Err(
                UpdateError::Malformed { .. } | UpdateError::Vector(VectorError::NotFinite { .. }),
            ) => Ok(Self::Whole(vec![0.0; dimension])),
            other => other,
        }
    }

    /// The squares of no block at all.
    pub(crate) fn no_squares(&self) -> Squares {
        match self {
            Self::Blocks(BlockScheme::Int8, _) => Squares::BeforeRounding(0.0),
            _ => Squares::OfIntegers(0.0),
        }
    }

    /// Rounds the blocks from `first` on and adds them to `sums`, one lane per value, [`BIAS`]
    /// included; or takes the same away. Whatever the bytes are, what was added and then subtracted
    /// leaves no trace.
    pub(crate) fn add<const SUBTRACT: bool>(
        &self,
        first: usize,
        factor: f32,
        sums: &mut [i32],
        squares: &mut Squares,
    ) {
        if add_together::<1, SUBTRACT>([self], first, [factor], sums, [squares]) {
            return;
        }
        for (sums, number) in sums.chunks_mut(BLOCK).zip(first..) {
            let mut floats = [0.0; BLOCK];
            let floats = &mut floats[..sums.len()];
            self.decode(number, floats);
            let [added] = rounding::add::<Decoded, 1, SUBTRACT>([floats], [factor], sums);
            squares.add(added);
        }
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

/// Adds the blocks from `first` on of `S` updates of one codec side by side, or takes them away, where
/// the codec is read in place; does nothing and returns false where it is not.
pub(crate) fn add_together<const S: usize, const SUBTRACT: bool>(
    updates: [&EncodedBlocks<'_>; S],
    first: usize,
    factors: [f32; S],
    sums: &mut [i32],
    squares: [&mut Squares; S],
) -> bool {
    let added = match updates[0] {
        EncodedBlocks::F32(_) => {
            let values = updates.map(|update| match update {
                EncodedBlocks::F32(values) => block(values, first, BLOCK, sums.len()),
                _ => &[],
            });
            rounding::add::<LittleEndian, S, SUBTRACT>(values, factors, sums)
        }
        EncodedBlocks::Whole(_) => {
            let values = updates.map(|update| match update {
                EncodedBlocks::Whole(values) => block(values, first, BLOCK, sums.len()),
                _ => &[],
            });
            rounding::add::<Decoded, S, SUBTRACT>(values, factors, sums)
        }
        EncodedBlocks::Blocks(BlockScheme::Int8, _) => {
            let bytes = updates.map(|update| match update {
                EncodedBlocks::Blocks(scheme, bytes) => {
                    let size = scheme.block_len(BLOCK);
                    let length = scheme.encoded_len(sums.len());
                    block(bytes, first, size, length)
                }
                _ => &[],
            });
            rounding::add_levels::<S, SUBTRACT>(bytes, factors, sums)
        }
        EncodedBlocks::Blocks(..) => return false,
    };
    for (squares, added) in squares.into_iter().zip(added) {
        squares.add(added);
    }
    true
}

/// The first `length` elements of block `number`, where a block has `size`; fewer at the end.
fn block<T>(all: &[T], number: usize, size: usize, length: usize) -> &[T] {
    let rest = all.get(number * size..).unwrap_or_default();
    &rest[..length.min(rest.len())]
}
