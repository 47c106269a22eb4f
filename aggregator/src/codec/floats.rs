//! Single and half precision and bfloat16, each value by itself.

use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

use super::block::BLOCK;

pub(super) fn encode_f32(values: &[f32], bytes: &mut Vec<u8>) {
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

pub(super) fn encode_f16(values: &[f32], bytes: &mut Vec<u8>) {
    bytes.extend(
        values
            .iter()
            .flat_map(|&value| truncate_to_half(value).to_le_bytes()),
    );
}

pub(super) fn encode_bf16(values: &[f32], bytes: &mut Vec<u8>) {
    bytes.extend(
        values
            .iter()
            .flat_map(|&value| truncate_to_bf16(value).to_le_bytes()),
    );
}

pub(super) fn decode_f32(bytes: &[u8], values: &mut [f32]) {
    for (value, raw) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *value = f32::from_le_bytes(*raw);
    }
}

pub(super) fn decode_f16(bytes: &[u8], values: &mut [f32]) {
    let mut bits = [0u16; BLOCK];
    let raw = bytes.as_chunks::<2>().0;
    let count = raw.len().min(values.len()).min(BLOCK);
    for (bits, raw) in bits.iter_mut().zip(raw) {
        *bits = u16::from_le_bytes(*raw);
    }
    let halves: &[f16] = bits[..count].reinterpret_cast();
    halves.convert_to_f32_slice(&mut values[..count]);
}

pub(super) fn decode_bf16(bytes: &[u8], values: &mut [f32]) {
    for (value, raw) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
        *value = f32::from_bits(u32::from(u16::from_le_bytes(*raw)) << 16);
    }
}

/// The half-precision value nearest to `value` that is not larger in magnitude.
pub(super) fn truncate_to_half(value: f32) -> f16 {
    let nearest = f16::from_f32(value);
    if nearest.to_f32().abs() > value.abs() {
        // the bits of one sign are ordered by magnitude, and a larger magnitude is not zero
        return f16::from_bits(nearest.to_bits() - 1);
    }
    nearest
}

/// The upper 16 bits. A NaN whose payload lies in the lower bits becomes an infinity, which is
/// refused all the same.
fn truncate_to_bf16(value: f32) -> u16 {
    (value.to_bits() >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_saturates_towards_zero_and_keeps_non_finite_values() {
        assert_eq!(truncate_to_half(1e9).to_f32(), 65504.0);
        assert_eq!(truncate_to_half(-70000.0).to_f32(), -65504.0);
        assert_eq!(truncate_to_half(1e-30).to_f32(), 0.0);
        assert!(truncate_to_half(f32::NAN).is_nan());
        assert!(truncate_to_half(f32::INFINITY).is_infinite());
    }

    #[test]
    fn bfloat16_drops_the_lower_half_and_keeps_non_finite_values() {
        assert_eq!(truncate_to_bf16(1.0), 0x3f80);
        // 1.0078124 lies just below the next bfloat16 after 1
        assert_eq!(truncate_to_bf16(1.007_812_4), 0x3f80);
        assert_eq!(truncate_to_bf16(-1.007_812_4), 0xbf80);
        for bad in [f32::NAN, f32::INFINITY, f32::from_bits(0x7f80_0001)] {
            let mut back = [0.0];
            decode_bf16(&truncate_to_bf16(bad).to_le_bytes(), &mut back);
            assert!(!back[0].is_finite());
        }
    }
}
