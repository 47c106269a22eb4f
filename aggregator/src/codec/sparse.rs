//! The largest values and where they are (top-k sparsification, Aji and Heafield 2017).
//!
//! Bytes: count u32, then the distance of every position from the one before it as a varint
//! (LEB128; the first counts from -1), then the values as half precision.

use std::ops::RangeInclusive;

use half::f16;
use tributary_privacy::VectorError;

use super::floats;
use super::scheme::Codec;
use super::share::Share;
use crate::error::UpdateError;

/// Bytes of the count in front.
const COUNT_BYTES: usize = 4;

/// Bytes of a value.
pub(super) const VALUE_BYTES: usize = 2;

/// Bytes that a distance of up to 32 bits takes at most.
const LONGEST_VARINT: usize = 5;

/// From one value near the front to `share` of them, as far apart as the dimension allows.
pub(super) fn encoded_len_range(share: Share, dimension: usize) -> RangeInclusive<usize> {
    let count = share.count(dimension);
    // distances that take j + 1 bytes or more are at least 128^j, and all add up to the dimension
    let longer = (dimension >> 7)
        .saturating_add(dimension >> 14)
        .saturating_add(dimension >> 21)
        .saturating_add(dimension >> 28);
    let positions = count
        .saturating_add(longer)
        .min(count.saturating_mul(LONGEST_VARINT));
    let longest = count
        .saturating_mul(VALUE_BYTES)
        .saturating_add(positions)
        .saturating_add(COUNT_BYTES);
    COUNT_BYTES + 1 + VALUE_BYTES..=longest.max(COUNT_BYTES + 1 + VALUE_BYTES)
}

/// Appends the k values of largest magnitude. Of equal ones the first are sent; NaN counts as
/// larger than infinity, so that the receiver sees it.
pub(super) fn encode(share: Share, values: &[f32], bytes: &mut Vec<u8>) {
    let chosen = largest(share, values);
    bytes.extend_from_slice(&(chosen.len() as u32).to_le_bytes());
    let mut next = 0;
    for &index in &chosen {
        push_varint(index + 1 - next, bytes);
        next = index + 1;
    }
    push_values(&chosen, values, bytes);
}

/// Positions of the k values of largest magnitude, rising.
pub(super) fn largest(share: Share, values: &[f32]) -> Vec<usize> {
    let count = share.count(values.len());
    let Some(last) = count.checked_sub(1) else {
        return Vec::new();
    };
    let mut magnitudes: Vec<u32> = values.iter().map(|&value| magnitude(value)).collect();
    let (larger, &mut threshold, _) = magnitudes.select_nth_unstable_by(last, |a, b| b.cmp(a));
    let above = larger.iter().filter(|&&other| other > threshold).count();
    let mut equals = count - above;
    let mut chosen = Vec::with_capacity(count);
    for (index, &value) in values.iter().enumerate() {
        let size = magnitude(value);
        if size < threshold || (size == threshold && equals == 0) {
            continue;
        }
        if size == threshold {
            equals -= 1;
        }
        chosen.push(index);
    }
    chosen
}

/// Appends the values at `chosen` in half precision.
pub(super) fn push_values(chosen: &[usize], values: &[f32], bytes: &mut Vec<u8>) {
    for &index in chosen {
        bytes.extend_from_slice(&floats::truncate_to_half(values[index]).to_le_bytes());
    }
}

/// Magnitudes as integers keep their order; infinity and NaN come last.
fn magnitude(value: f32) -> u32 {
    value.to_bits() & 0x7fff_ffff
}

fn push_varint(mut number: usize, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Decodes bytes of an accepted length. Everything but the values named by a position is zero.
pub(super) fn decode_into(
    codec: Codec,
    share: Share,
    bytes: &[u8],
    values: &mut [f32],
) -> Result<(), UpdateError> {
    let malformed = |reason| UpdateError::Malformed { codec, reason };
    let (count, rest) = bytes
        .split_first_chunk::<COUNT_BYTES>()
        .ok_or(malformed("the count is cut short"))?;
    let count = u32::from_le_bytes(*count) as usize;
    if count == 0 || count > share.count(values.len()) {
        return Err(malformed("the count is zero or above the plan's share"));
    }
    let (mut positions, halves) = rest
        .len()
        .checked_sub(VALUE_BYTES * count)
        .and_then(|positions| rest.split_at_checked(positions))
        .ok_or(malformed("the values are cut short"))?;
    values.fill(0.0);
    let mut next = 0u64;
    for half in halves.as_chunks::<VALUE_BYTES>().0 {
        let distance = read_varint(&mut positions).map_err(malformed)?;
        let past = next + u64::from(distance);
        if distance == 0 {
            return Err(malformed("a position is repeated"));
        }
        if past > values.len() as u64 {
            return Err(malformed("a position is beyond the last parameter"));
        }
        let index = past as usize - 1;
        let value = f16::from_le_bytes(*half).to_f32();
        if !value.is_finite() {
            return Err(VectorError::NotFinite { index }.into());
        }
        values[index] = value;
        next = past;
    }
    if positions.is_empty() {
        Ok(())
    } else {
        Err(malformed("the length does not match the count"))
    }
}

/// Takes one number off the front: at most 32 bits, in as few bytes as possible.
fn read_varint(bytes: &mut &[u8]) -> Result<u32, &'static str> {
    let mut number = 0u64;
    for place in 0..LONGEST_VARINT {
        let (&byte, rest) = bytes.split_first().ok_or("a position is cut short")?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 != 0 {
            continue;
        }
        if byte == 0 && place > 0 {
            return Err("a position has needless bytes");
        }
        return u32::try_from(number).map_err(|_| "a position is beyond 32 bits");
    }
    Err("a position is beyond 32 bits")
}

#[cfg(test)]
#[path = "sparse_tests.rs"]
mod tests;
