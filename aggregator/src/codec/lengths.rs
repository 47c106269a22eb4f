//! How many bytes an encoded vector may have: what is checked before any of them is read.

use std::ops::RangeInclusive;

use super::block_scheme::BlockScheme;
use super::rotation::{self, Quantiser};
use super::scheme::{Codec, Scheme};
use super::{compressed, sparse, sparse_fixed};
use crate::error::UpdateError;

impl Codec {
    /// The fewest and the most bytes that `dimension` values take; both are the same for schemes
    /// without compression or positions of varying width. Saturates at `usize::MAX`.
    pub fn encoded_len_range(self, dimension: usize) -> RangeInclusive<usize> {
        match self {
            Codec::Plain(scheme) => scheme.encoded_len_range(dimension),
            Codec::Zstd(scheme) => {
                let longest = *scheme.encoded_len_range(dimension).end();
                compressed::SHORTEST..=longest.saturating_add(compressed::MARK_BYTES)
            }
        }
    }

    /// Checks a length against [`Codec::encoded_len_range`].
    ///
    /// # Errors
    /// [`UpdateError::WrongLength`].
    pub fn check_length(self, bytes: usize, dimension: usize) -> Result<(), UpdateError> {
        self.check_range(bytes, dimension, self.encoded_len_range(dimension))
    }

    pub(super) fn check_range(
        self,
        bytes: usize,
        dimension: usize,
        range: RangeInclusive<usize>,
    ) -> Result<(), UpdateError> {
        if range.contains(&bytes) {
            return Ok(());
        }
        Err(UpdateError::WrongLength {
            codec: self,
            dimension,
            shortest: *range.start(),
            longest: *range.end(),
            actual: bytes,
        })
    }
}

impl Scheme {
    /// The fewest and the most bytes that `dimension` values take without compression.
    pub(super) fn encoded_len_range(self, dimension: usize) -> RangeInclusive<usize> {
        let length = match self {
            Scheme::F32 => BlockScheme::F32.encoded_len(dimension),
            Scheme::F16 => BlockScheme::F16.encoded_len(dimension),
            Scheme::Bf16 => BlockScheme::Bf16.encoded_len(dimension),
            Scheme::Int8 => BlockScheme::Int8.encoded_len(dimension),
            Scheme::Int4 => BlockScheme::Int4.encoded_len(dimension),
            Scheme::TopK(share) => return sparse::encoded_len_range(share, dimension),
            Scheme::TopKFixed(share) => sparse_fixed::encoded_len(share, dimension),
            Scheme::Drive => rotation::encoded_len(Quantiser::Drive, dimension),
            Scheme::Eden(bits) => rotation::encoded_len(Quantiser::Eden(bits), dimension),
        };
        length..=length
    }
}
