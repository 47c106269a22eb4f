//! Blocks of integer levels with one scale: int8 and int4 with stochastic rounding.
//!
//! A block is the scale s as `f32`, then the levels; a value is s times its level. The encoder
//! takes s = max |x| / L with L = 127 or 7 and rounds x / s to one of its two neighbours at random,
//! so that the expectation is x / s (Alistarh et al. 2017, QSGD, section 3.1).

use rand_core::Rng;

use super::block::BLOCK;

/// Bytes of the scale in front of a block.
pub(super) const SCALE_BYTES: usize = 4;

/// Bits behind the binary point of a level while it is rounded. With 127 before the point the
/// number still fits an i32.
const FRACTION: u32 = 23;

/// Blocks of one byte a level.
pub(super) fn encode_int8(values: &[f32], noise: &mut impl Rng, bytes: &mut Vec<u8>) {
    let mut levels = [0i8; BLOCK];
    for block in values.chunks(BLOCK) {
        let scale = round_block(block, 127.0, noise, &mut levels[..block.len()]);
        bytes.extend_from_slice(&scale.to_le_bytes());
        bytes.extend(levels[..block.len()].iter().map(|&level| level as u8));
    }
}

/// Blocks of half a byte a level, the first in the low half.
pub(super) fn encode_int4(values: &[f32], noise: &mut impl Rng, bytes: &mut Vec<u8>) {
    let mut levels = [0i8; BLOCK];
    for block in values.chunks(BLOCK) {
        let scale = round_block(block, 7.0, noise, &mut levels[..block.len()]);
        bytes.extend_from_slice(&scale.to_le_bytes());
        let (pairs, last) = levels[..block.len()].as_chunks::<2>();
        let packed = |[low, high]: [i8; 2]| (low as u8 & 0x0f) | ((high as u8) << 4);
        bytes.extend(pairs.iter().map(|&pair| packed(pair)));
        bytes.extend(last.first().map(|&level| packed([level, 0])));
    }
}

pub(super) fn decode_int8(bytes: &[u8], values: &mut [f32]) {
    let Some((raw, levels)) = bytes.split_first_chunk::<SCALE_BYTES>() else {
        return;
    };
    let scale = f32::from_le_bytes(*raw);
    for (value, &level) in values.iter_mut().zip(levels) {
        *value = scale * f32::from(level as i8);
    }
}

pub(super) fn decode_int4(bytes: &[u8], values: &mut [f32]) {
    let Some((raw, levels)) = bytes.split_first_chunk::<SCALE_BYTES>() else {
        return;
    };
    let scale = f32::from_le_bytes(*raw);
    // shifting as a signed byte extends the sign of the upper half
    let low = |byte: u8| scale * f32::from((byte << 4) as i8 >> 4);
    let high = |byte: u8| scale * f32::from(byte as i8 >> 4);
    let (pairs, last) = values.as_chunks_mut::<2>();
    for (pair, &byte) in pairs.iter_mut().zip(levels) {
        *pair = [low(byte), high(byte)];
    }
    if let (Some(value), Some(&byte)) = (last.first_mut(), levels.get(pairs.len())) {
        *value = low(byte);
    }
}

/// Multiplies the scale of every block by `factor`, rounding towards zero. `block_len` is the
/// length of a whole block in bytes.
pub(super) fn shrink_scales(bytes: &mut [u8], block_len: usize, factor: f64) {
    for block in bytes.chunks_mut(block_len) {
        if let Some(raw) = block.first_chunk_mut::<SCALE_BYTES>() {
            *raw = shrunk(f32::from_le_bytes(*raw), factor).to_le_bytes();
        }
    }
}

/// `scale * factor` for a `factor` in [0, 1], rounded towards zero.
fn shrunk(scale: f32, factor: f64) -> f32 {
    let exact = f64::from(scale) * factor;
    let nearest = exact as f32;
    if f64::from(nearest).abs() > exact.abs() {
        // one step towards zero; a magnitude above another is not zero
        return f32::from_bits(nearest.to_bits() - 1);
    }
    nearest
}

/// Writes the levels of one block and returns its scale: NaN with levels of zero when a value is
/// not finite, zero when the scale would be below the normal numbers.
fn round_block(block: &[f32], largest: f32, noise: &mut impl Rng, levels: &mut [i8]) -> f32 {
    // as integers the magnitudes keep their order, and NaN and infinity come last
    let peak = block
        .iter()
        .fold(0, |peak, value| peak.max(value.to_bits() & 0x7fff_ffff));
    let scale = f32::from_bits(peak) / largest;
    if !scale.is_finite() || !scale.is_normal() {
        levels.fill(0);
        return if scale.is_finite() { 0.0 } else { f32::NAN };
    }
    let mut draws = [0u8; 4 * BLOCK];
    let draws = &mut draws[..4 * block.len()];
    noise.fill_bytes(draws);
    let one = (1u32 << FRACTION) as f32;
    let limit = largest * one;
    for ((level, &value), raw) in levels.iter_mut().zip(block).zip(draws.as_chunks::<4>().0) {
        // floor((x + r) / 2^23) with r uniform in 0..2^23 has expectation x / 2^23
        let fixed = (value / scale * one).clamp(-limit, limit) as i32;
        let uniform = (u32::from_le_bytes(*raw) >> (32 - FRACTION)) as i32;
        *level = ((fixed + uniform) >> FRACTION) as i8;
    }
    scale
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn whole_levels_are_not_rounded_and_neighbours_are_taken_otherwise() {
        let mut noise = ChaCha20Rng::seed_from_u64(1);
        let block = [127.0, -127.0, 3.0, 0.0, -0.5, 63.25];
        let mut levels = [0i8; 6];
        let mut seen = [[false; 2]; 2];
        for _ in 0..100 {
            let scale = round_block(&block, 127.0, &mut noise, &mut levels);
            assert_eq!(scale, 1.0);
            assert_eq!(levels[..4], [127, -127, 3, 0]);
            assert!([-1, 0].contains(&levels[4]) && [63, 64].contains(&levels[5]));
            seen[0][usize::from(levels[4] == 0)] = true;
            seen[1][usize::from(levels[5] == 64)] = true;
        }
        assert_eq!(seen, [[true; 2]; 2]);
    }

    #[test]
    fn the_largest_value_never_leaves_the_range_of_levels() {
        let mut noise = ChaCha20Rng::seed_from_u64(2);
        let mut levels = [0i8; 2];
        // peaks whose quotient by the rounded scale is above 127 or 7
        for step in 0..20_000u32 {
            let peak = f32::from_bits(0x3f80_0000 + step * 397);
            for largest in [127.0, 7.0] {
                round_block(&[peak, -peak], largest, &mut noise, &mut levels);
                let limit = largest as i8;
                assert!(
                    levels[0] <= limit && levels[1] >= -limit,
                    "{peak} {levels:?}"
                );
            }
        }
    }

    #[test]
    fn a_block_below_the_normal_numbers_becomes_zero() {
        let mut noise = ChaCha20Rng::seed_from_u64(3);
        let mut bytes = Vec::new();
        encode_int8(&[1e-40, -1e-38], &mut noise, &mut bytes);
        assert_eq!(bytes, [0; 6]);
    }

    #[test]
    fn every_half_byte_is_a_level_in_twos_complement() {
        let mut bytes = 1.0f32.to_le_bytes().to_vec();
        bytes.extend([0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe]);
        let mut values = [9.0; 16];
        decode_int4(&bytes, &mut values);
        let expected = [
            0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, -8.0, -7.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0,
        ];
        assert_eq!(values, expected);
    }

    #[test]
    fn shrinking_rounds_towards_zero() {
        for (scale, factor) in [(1.0, 0.1), (-1.0, 0.1), (3.0e-38, 0.7), (0.3, 1.0 / 3.0)] {
            let result = f64::from(shrunk(scale, factor));
            let exact = f64::from(scale) * factor;
            assert!(result.abs() <= exact.abs() && (result - exact).abs() <= 1.2e-7 * exact.abs());
        }
        assert_eq!(shrunk(0.0, 0.5), 0.0);
        assert!(shrunk(f32::NAN, 0.5).is_nan());
    }
}
