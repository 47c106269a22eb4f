//! A stretch of an update, cut where the factor changes.

use super::encoding::{Encoding, Levels};
use crate::codec::{BLOCK, BlockScheme};

/// A stretch of an update as pieces of one factor each.
pub(super) trait Pieces<'a> {
    type Encoding: Encoding;

    /// Values of a piece; the last one may have fewer.
    fn length(&self) -> usize;

    fn piece(&self, number: usize) -> Piece<'a, Self::Encoding>;
}

/// A part of an update.
pub(super) struct Piece<'a, E: Encoding> {
    pub values: &'a [E::Raw],
    pub factor: f32,
    /// What the squares count for.
    pub weight: f64,
}

/// Values with one factor.
pub(super) struct Plain<'a, E: Encoding> {
    pub values: &'a [E::Raw],
    pub factor: f32,
}

impl<'a, E: Encoding> Pieces<'a> for Plain<'a, E> {
    type Encoding = E;

    #[inline(always)]
    fn length(&self) -> usize {
        self.values.len().max(1)
    }

    #[inline(always)]
    fn piece(&self, _: usize) -> Piece<'a, E> {
        Piece {
            values: self.values,
            factor: self.factor,
            weight: 1.0,
        }
    }
}

/// Blocks of levels, each behind its scale.
pub(super) struct ScaledBlocks<'a> {
    pub bytes: &'a [u8],
    pub factor: f32,
}

impl<'a> Pieces<'a> for ScaledBlocks<'a> {
    type Encoding = Levels;

    #[inline(always)]
    fn length(&self) -> usize {
        BLOCK
    }

    #[inline(always)]
    fn piece(&self, number: usize) -> Piece<'a, Levels> {
        let size = BlockScheme::Int8.block_len(BLOCK);
        let rest = &self.bytes[number * size..];
        let (scale, values) = rest[..size.min(rest.len())]
            .split_first_chunk()
            .unwrap_or((&[0; 4], &[]));
        let factor = f32::from_le_bytes(*scale) * self.factor;
        Piece {
            values,
            factor,
            weight: f64::from(factor) * f64::from(factor),
        }
    }
}
