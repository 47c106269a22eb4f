//! The schemes that can be decoded a block at a time, while the bytes are in the first-level cache.

use super::{floats, levels};
use crate::error::UpdateError;

/// Values in a block.
pub(crate) const BLOCK: usize = 1024;

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

/// Refuses a block that starts at `offset` and has a NaN or infinite value.
pub(super) fn refuse_non_finite(values: &[f32], offset: usize) -> Result<(), UpdateError> {
    // without an early exit, so that the common case uses vector registers
    let finite = values
        .iter()
        .fold(true, |finite, value| finite & value.is_finite());
    if finite {
        return Ok(());
    }
    let position = values.iter().position(|value| !value.is_finite());
    Err(UpdateError::NotFinite {
        index: offset + position.unwrap_or(0),
    })
}
