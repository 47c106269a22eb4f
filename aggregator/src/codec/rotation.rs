//! Few-bit quantisation after a random rotation: DRIVE and EDEN.
//!
//! Bytes: the seed of the signs as u64, then for every group of 4,096 values (the tail padded to a
//! power of two) the scale as `f32` and the packed indices of the centroids, b bits each, the first
//! in the lowest bits. With n the padded length, R the rotation and c(z) the centroid nearest to
//! the rotated and normalised coordinate z, the scale is
//! S = ||x||^2 / <R x, c> (EDEN, equation 3; DRIVE, theorem 3), and the decoder returns S R^T c.
//! With a uniformly random rotation that is unbiased, with an expected squared error of
//! e / (1 - e) ||x||^2, where e is the distortion of the quantiser: pi/2 - 1 for one bit.

use rand_core::Rng;
use tributary_privacy::l2_norm;

use super::block::refuse_non_finite;
use super::centroids::{self, HALF_MOST};
use super::hadamard::{GROUP, GroupSigns, Signs, group_len};
use super::levels;
use super::scheme::EdenBits;
use crate::error::UpdateError;

/// Bytes of the seed in front.
const SEED_BYTES: usize = 8;

/// Bytes of the scale in front of a group.
const SCALE_BYTES: usize = 4;

/// How a rotated coordinate becomes an index.
#[derive(Debug, Clone, Copy)]
pub(super) enum Quantiser {
    /// Its sign: centroids -1 and 1.
    Drive,
    /// The nearest of the Lloyd-Max centroids of the standard normal distribution.
    Eden(EdenBits),
}

impl Quantiser {
    fn bits(self) -> usize {
        match self {
            Quantiser::Drive => 1,
            Quantiser::Eden(bits) => usize::from(bits.get()),
        }
    }

    /// The centroids above zero, rising; the others mirror them.
    fn upper_half(self) -> &'static [f32] {
        match self {
            Quantiser::Drive => &[1.0],
            Quantiser::Eden(bits) => centroids::upper_half(bits),
        }
    }

    /// Bytes of a group that holds `count` values, 1 to [`GROUP`].
    fn group_bytes(self, count: usize) -> usize {
        SCALE_BYTES + group_len(count) / 8 * self.bits()
    }

    /// All centroids, rising, in the first 2^b places.
    fn table(self) -> [f32; 2 * HALF_MOST] {
        let upper = self.upper_half();
        let mut table = [0.0; 2 * HALF_MOST];
        for (place, &centroid) in upper.iter().enumerate() {
            table[upper.len() + place] = centroid;
            table[upper.len() - 1 - place] = -centroid;
        }
        table
    }
}

/// Bytes that `dimension` values take; saturates at `usize::MAX`.
pub(super) fn encoded_len(quantiser: Quantiser, dimension: usize) -> usize {
    let whole = (dimension / GROUP).saturating_mul(quantiser.group_bytes(GROUP));
    let tail = match dimension % GROUP {
        0 => 0,
        rest => quantiser.group_bytes(rest),
    };
    whole.saturating_add(tail).saturating_add(SEED_BYTES)
}

pub(super) fn encode(
    quantiser: Quantiser,
    values: &[f32],
    noise: &mut impl Rng,
    bytes: &mut Vec<u8>,
) {
    let seed = noise.next_u64();
    bytes.extend_from_slice(&seed.to_le_bytes());
    let mut signs = Signs::new(seed);
    let mut rotated = [0.0f32; GROUP];
    let mut indices = [0u8; GROUP];
    for group in values.chunks(GROUP) {
        let len = group_len(group.len());
        // also for a group that needs no rotation: the decoder takes them in turn
        let signs = signs.next_group(len);
        let indices = &mut indices[..len];
        let scale = quantise_group(quantiser, group, &signs, &mut rotated[..len], indices);
        bytes.extend_from_slice(&scale.to_le_bytes());
        pack(indices, quantiser.bits(), bytes);
    }
}

/// Rotates one group in `rotated`, writes its indices, and returns its scale: zero for zeros, NaN
/// when a value is not finite.
fn quantise_group(
    quantiser: Quantiser,
    group: &[f32],
    signs: &GroupSigns,
    rotated: &mut [f32],
    indices: &mut [u8],
) -> f32 {
    let norm = l2_norm(group);
    if norm == 0.0 || !norm.is_finite() {
        indices.fill(0);
        return if norm == 0.0 { 0.0 } else { f32::NAN };
    }
    let root = (rotated.len() as f64).sqrt();
    // two transforms make it longer by n, so the rotated values get a norm of sqrt(n)
    let factor = 1.0 / (norm * root);
    let (head, padding) = rotated.split_at_mut(group.len());
    for (place, &value) in head.iter_mut().zip(group) {
        *place = (f64::from(value) * factor) as f32;
    }
    padding.fill(0.0);
    signs.rotate(rotated);
    let product = quantise(quantiser, rotated, indices);
    (norm * root / product) as f32
}

/// Writes the index of the centroid nearest to every coordinate; returns <z, c>.
fn quantise(quantiser: Quantiser, rotated: &[f32], indices: &mut [u8]) -> f64 {
    let upper = quantiser.upper_half();
    let half = upper.len() as u8;
    let mut boundaries = [f32::INFINITY; HALF_MOST];
    for (boundary, pair) in boundaries.iter_mut().zip(upper.windows(2)) {
        *boundary = (pair[0] + pair[1]) / 2.0;
    }
    let boundaries = &boundaries[..upper.len() - 1];
    let mut product = 0.0;
    for (&z, index) in rotated.iter().zip(indices) {
        let size = z.abs();
        let place = boundaries
            .iter()
            .fold(0u8, |place, &boundary| place + u8::from(size > boundary));
        product += f64::from(size) * f64::from(upper[usize::from(place)]);
        *index = if z.is_sign_negative() {
            half - 1 - place
        } else {
            half + place
        };
    }
    product
}

/// Packs indices of `bits` bits, the first in the lowest bits. Eight of them fill whole bytes.
fn pack(indices: &[u8], bits: usize, bytes: &mut Vec<u8>) {
    for eight in indices.as_chunks::<8>().0 {
        let mut word = 0u32;
        for (place, &index) in eight.iter().enumerate() {
            word |= u32::from(index) << (bits * place);
        }
        bytes.extend_from_slice(&word.to_le_bytes()[..bits]);
    }
}

fn unpack(bytes: &[u8], bits: usize, table: &[f32; 2 * HALF_MOST], values: &mut [f32]) {
    let mask = (1u32 << bits) - 1;
    for (raw, eight) in bytes.chunks_exact(bits).zip(values.as_chunks_mut::<8>().0) {
        let mut word = [0u8; 4];
        word[..bits].copy_from_slice(raw);
        let word = u32::from_le_bytes(word);
        for (place, value) in eight.iter_mut().enumerate() {
            *value = table[(word >> (bits * place) & mask) as usize];
        }
    }
}

/// Decodes bytes whose length was checked.
pub(super) fn decode_into(
    quantiser: Quantiser,
    bytes: &[u8],
    values: &mut [f32],
) -> Result<(), UpdateError> {
    let Some((seed, groups)) = bytes.split_first_chunk::<SEED_BYTES>() else {
        return Ok(());
    };
    let mut signs = Signs::new(u64::from_le_bytes(*seed));
    let table = quantiser.table();
    let mut rotated = [0.0f32; GROUP];
    let groups = groups.chunks(quantiser.group_bytes(GROUP));
    for (number, (raw, group)) in groups.zip(values.chunks_mut(GROUP)).enumerate() {
        let Some((scale, packed)) = raw.split_first_chunk::<SCALE_BYTES>() else {
            break;
        };
        let rotated = &mut rotated[..group_len(group.len())];
        unpack(packed, quantiser.bits(), &table, rotated);
        let len = rotated.len();
        signs.next_group(len).rotate_back(rotated);
        let factor = f32::from_le_bytes(*scale) / len as f32;
        for (value, &turned) in group.iter_mut().zip(&*rotated) {
            *value = turned * factor;
        }
        refuse_non_finite(group, number * GROUP)?;
    }
    Ok(())
}

/// Multiplies the scale of every group by `factor`, rounding towards zero.
pub(super) fn shrink_scales(quantiser: Quantiser, bytes: &mut [u8], factor: f64) {
    let Some((_seed, groups)) = bytes.split_first_chunk_mut::<SEED_BYTES>() else {
        return;
    };
    levels::shrink_scales(groups, quantiser.group_bytes(GROUP), factor);
}
