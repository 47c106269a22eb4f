//! The schemes that can be decoded a block at a time, while the bytes are in the first-level cache.

use super::block::{BLOCK, refuse_non_finite};
use super::scheme::{Codec, Scheme};
use super::{floats, levels};
use crate::error::UpdateError;

/// A scheme in which every block of [`BLOCK`] values has a fixed place and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockScheme {
    F32,
    F16,
    Bf16,
    Int8,
    Int4,
}

impl BlockScheme {
    /// Bytes of a block that holds `count` values, at most [`BLOCK`].
    pub(crate) const fn block_len(self, count: usize) -> usize {
        match self {
            BlockScheme::F32 => 4 * count,
            BlockScheme::F16 | BlockScheme::Bf16 => 2 * count,
            BlockScheme::Int8 => levels::SCALE_BYTES + count,
            BlockScheme::Int4 => levels::SCALE_BYTES + count.div_ceil(2),
        }
    }

    /// Bytes that `dimension` values take; saturates at `usize::MAX`.
    pub(crate) const fn encoded_len(self, dimension: usize) -> usize {
        let whole = (dimension / BLOCK).saturating_mul(self.block_len(BLOCK));
        match dimension % BLOCK {
            0 => whole,
            rest => whole.saturating_add(self.block_len(rest)),
        }
    }

    /// Decodes one block into `values`, at most [`BLOCK`] of them. Bytes or values without a
    /// partner are left alone. Values are not checked: a NaN scale gives NaN values.
    pub(crate) fn decode_block(self, bytes: &[u8], values: &mut [f32]) {
        match self {
            BlockScheme::F32 => floats::decode_f32(bytes, values),
            BlockScheme::F16 => floats::decode_f16(bytes, values),
            BlockScheme::Bf16 => floats::decode_bf16(bytes, values),
            BlockScheme::Int8 => levels::decode_int8(bytes, values),
            BlockScheme::Int4 => levels::decode_int4(bytes, values),
        }
    }

    /// Decodes bytes whose length was checked.
    pub(super) fn decode_into(self, bytes: &[u8], values: &mut [f32]) -> Result<(), UpdateError> {
        let blocks = bytes.chunks(self.block_len(BLOCK));
        for (number, (bytes, values)) in blocks.zip(values.chunks_mut(BLOCK)).enumerate() {
            self.decode_block(bytes, values);
            refuse_non_finite(values, number * BLOCK)?;
        }
        Ok(())
    }
}

impl Codec {
    /// The scheme by which the bytes can be decoded [`BLOCK`] values at a time, if they can.
    pub(crate) fn block_scheme(self) -> Option<BlockScheme> {
        match self {
            Codec::Plain(scheme) => scheme.block_scheme(),
            Codec::Zstd(_) => None,
        }
    }
}

impl Scheme {
    /// The scheme by which the bytes can be decoded [`BLOCK`] values at a time, if they can.
    pub(crate) fn block_scheme(self) -> Option<BlockScheme> {
        match self {
            Scheme::F32 => Some(BlockScheme::F32),
            Scheme::F16 => Some(BlockScheme::F16),
            Scheme::Bf16 => Some(BlockScheme::Bf16),
            Scheme::Int8 => Some(BlockScheme::Int8),
            Scheme::Int4 => Some(BlockScheme::Int4),
            Scheme::TopK(_) | Scheme::TopKFixed(_) | Scheme::Drive | Scheme::Eden(_) => None,
        }
    }
}
