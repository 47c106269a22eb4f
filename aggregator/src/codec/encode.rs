//! Encoding, plain and with a promise about the norm of what the receiver decodes.

use rand_core::Rng;
use tributary_privacy::{VectorError, clipped_l2, l2_norm, squared_norm};

use super::block::BLOCK;
use super::block_scheme::BlockScheme;
use super::rotation::{self, Quantiser};
use super::scheme::{Codec, Scheme};
use super::{compressed, floats, levels, sparse, sparse_fixed};

/// How far below the clip the decoded norm of a stochastic scheme is kept, as a share of the clip:
/// 2^-18. It covers the rounding of the decoder: at most 2^-24 a value and operation, of which the
/// longest chain (two rotations of 12 steps, three products) has 27.
const MARGIN: f64 = 1.0 / 262_144.0;

impl Codec {
    /// Encodes `values`; stochastic codecs draw from `noise`, the others leave it alone. Non-finite
    /// values stay non-finite (whole blocks of them in block schemes), so that the receiver refuses
    /// them.
    pub fn encode(self, values: &[f32], noise: &mut impl Rng) -> Vec<u8> {
        match self {
            Codec::Plain(scheme) => scheme.encode(values, noise),
            Codec::Zstd(scheme) => compressed::compress(scheme.encode(values, noise)),
        }
    }

    /// Encodes `values`, clipped to L2 norm `clip`, such that the decoded vector too has a norm of
    /// at most `clip` and passes the exact check of [`crate::FixedPoint`] with that clip.
    ///
    /// Stochastic rounding is unbiased, so it adds its variance to the squared norm. Where the
    /// decoded vector became longer than `clip`, all its scales are multiplied by one factor: the
    /// direction stays, and the result is biased towards zero. A vector whose norm is the clip comes
    /// back shorter by about 20 % with drive or eden:1, 6 % with eden:2, 2 % with eden:3 and 0.5 %
    /// with eden:4; normal values by 0.01 % with int8 and 2 % with int4, unequal ones by more. A
    /// vector that is shorter than the clip by that much is not touched.
    ///
    /// # Errors
    /// [`VectorError::BadClip`] unless `clip` is in [1e-12, 1e12]; [`VectorError::NotFinite`].
    pub fn encode_clipped(
        self,
        values: &[f32],
        clip: f32,
        noise: &mut impl Rng,
    ) -> Result<Vec<u8>, VectorError> {
        let clipped = clipped_l2(values, clip)?;
        let mut bytes = self.scheme().encode(&clipped, noise);
        self.scheme().shrink_to(clip, clipped.len(), &mut bytes);
        Ok(match self {
            Codec::Plain(_) => bytes,
            Codec::Zstd(_) => compressed::compress(bytes),
        })
    }
}

impl Scheme {
    fn encode(self, values: &[f32], noise: &mut impl Rng) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.likely_len(values.len()));
        match self {
            Scheme::F32 => floats::encode_f32(values, &mut bytes),
            Scheme::F16 => floats::encode_f16(values, &mut bytes),
            Scheme::Bf16 => floats::encode_bf16(values, &mut bytes),
            Scheme::Int8 => levels::encode_int8(values, noise, &mut bytes),
            Scheme::Int4 => levels::encode_int4(values, noise, &mut bytes),
            Scheme::TopK(share) => sparse::encode(share, values, &mut bytes),
            Scheme::TopKFixed(share) => sparse_fixed::encode(share, values, &mut bytes),
            Scheme::Drive => rotation::encode(Quantiser::Drive, values, noise, &mut bytes),
            Scheme::Eden(bits) => {
                rotation::encode(Quantiser::Eden(bits), values, noise, &mut bytes);
            }
        }
        bytes
    }

    /// The longest length, which for a sparse vector is more than it takes as a rule.
    fn likely_len(self, dimension: usize) -> usize {
        *self.encoded_len_range(dimension).end()
    }

    /// Multiplies the scales of a stochastic scheme so that the decoded norm is at most `clip`.
    /// The other schemes never lengthen a vector.
    fn shrink_to(self, clip: f32, dimension: usize, bytes: &mut [u8]) {
        let target = f64::from(clip) * (1.0 - MARGIN);
        match self {
            Scheme::F32 | Scheme::F16 | Scheme::Bf16 | Scheme::TopK(_) | Scheme::TopKFixed(_) => {}
            Scheme::Int8 => shrink_blocks(BlockScheme::Int8, target, dimension, bytes),
            Scheme::Int4 => shrink_blocks(BlockScheme::Int4, target, dimension, bytes),
            Scheme::Drive => shrink_rotated(Quantiser::Drive, target, dimension, bytes),
            Scheme::Eden(bits) => shrink_rotated(Quantiser::Eden(bits), target, dimension, bytes),
        }
    }
}

fn shrink_blocks(scheme: BlockScheme, target: f64, dimension: usize, bytes: &mut [u8]) {
    let mut values = [0.0f32; BLOCK];
    let mut squares = 0.0;
    for (number, raw) in bytes.chunks(scheme.block_len(BLOCK)).enumerate() {
        let count = (dimension - number * BLOCK).min(BLOCK);
        scheme.decode_block(raw, &mut values[..count]);
        squares += squared_norm(&values[..count]);
    }
    let norm = squares.sqrt();
    if norm > target {
        levels::shrink_scales(bytes, scheme.block_len(BLOCK), target / norm);
    }
}

fn shrink_rotated(quantiser: Quantiser, target: f64, dimension: usize, bytes: &mut [u8]) {
    let mut decoded = vec![0.0f32; dimension];
    // the input was finite, and so are the scales: a refusal can't happen and would change nothing
    if rotation::decode_into(quantiser, bytes, &mut decoded).is_err() {
        return;
    }
    let norm = l2_norm(&decoded);
    if norm > target {
        rotation::shrink_scales(quantiser, bytes, target / norm);
    }
}
