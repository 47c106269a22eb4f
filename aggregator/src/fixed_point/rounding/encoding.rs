//! How a stored value becomes a float, and what is squared for the norm check.

use super::streams::{Piece, Pieces};
use crate::codec::{BLOCK, BlockScheme};

/// One way in which updates store their values.
pub(crate) trait Encoding {
    /// A value as it is stored.
    type Raw: Copy;

    /// True where the squares of the values are wanted, not those of the integers.
    const LEVELS: bool;

    /// The value as a float.
    fn read(raw: Self::Raw) -> f32;
}

/// Little endian `f32`.
pub(crate) struct LittleEndian;

impl Encoding for LittleEndian {
    type Raw = [u8; 4];
    const LEVELS: bool = false;

    #[inline(always)]
    fn read(raw: [u8; 4]) -> f32 {
        f32::from_le_bytes(raw)
    }
}

/// Values that are decoded already.
pub(crate) struct Decoded;

impl Encoding for Decoded {
    type Raw = f32;
    const LEVELS: bool = false;

    #[inline(always)]
    fn read(raw: f32) -> f32 {
        raw
    }
}

/// Signed 8-bit levels.
pub(super) struct Levels;

impl Encoding for Levels {
    type Raw = u8;
    const LEVELS: bool = true;

    #[inline(always)]
    fn read(raw: u8) -> f32 {
        f32::from(raw as i8)
    }
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
