//! The largest values and where they are, in a length that says nothing of them.
//!
//! Bytes: k positions of the same width, rising, then the k values as half precision. k follows from the
//! plan's share and the number of values alone, so it is not written; a vector of zeros has as many.

use half::f16;
use tributary_privacy::VectorError;

use super::scheme::Codec;
use super::share::Share;
use super::sparse::{self, VALUE_BYTES};
use crate::error::UpdateError;

/// Bytes of a position: the fewest that hold the last one, at least 1.
fn position_bytes(dimension: usize) -> usize {
    let last = dimension.saturating_sub(1);
    let bits = usize::BITS - last.leading_zeros();
    (bits.div_ceil(8) as usize).max(1)
}

/// The length of an encoded vector of `dimension` values.
pub(super) fn encoded_len(share: Share, dimension: usize) -> usize {
    let each = position_bytes(dimension) + VALUE_BYTES;
    share.count(dimension).saturating_mul(each)
}

/// Appends the k values of largest magnitude; of equal ones the first.
pub(super) fn encode(share: Share, values: &[f32], bytes: &mut Vec<u8>) {
    let width = position_bytes(values.len());
    let chosen = sparse::largest(share, values);
    for index in &chosen {
        bytes.extend_from_slice(&index.to_le_bytes()[..width]);
    }
    sparse::push_values(&chosen, values, bytes);
}

/// Decodes bytes of an accepted length. Everything but the values named by a position is zero.
pub(super) fn decode_into(
    codec: Codec,
    share: Share,
    bytes: &[u8],
    values: &mut [f32],
) -> Result<(), UpdateError> {
    let malformed = |reason| UpdateError::Malformed { codec, reason };
    let width = position_bytes(values.len());
    let split = share.count(values.len()) * width;
    let (positions, halves) = bytes
        .split_at_checked(split)
        .ok_or(malformed("the values are cut short"))?;
    values.fill(0.0);
    let mut next = 0;
    let halves = halves.as_chunks::<VALUE_BYTES>().0;
    for (raw, half) in positions.chunks(width).zip(halves) {
        let mut index = [0; size_of::<usize>()];
        index[..raw.len()].copy_from_slice(raw);
        let index = usize::from_le_bytes(index);
        if index < next {
            return Err(malformed("a position is not behind the one before it"));
        }
        let value = f16::from_le_bytes(*half).to_f32();
        let place = values
            .get_mut(index)
            .ok_or(malformed("a position is beyond the last parameter"))?;
        if !value.is_finite() {
            return Err(VectorError::NotFinite { index }.into());
        }
        *place = value;
        next = index + 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::Scheme;

    fn codec(share: Share) -> Codec {
        Codec::Plain(Scheme::TopKFixed(share))
    }

    #[test]
    fn positions_take_the_fewest_bytes_that_hold_the_last_one() {
        for (dimension, bytes) in [(1, 1), (256, 1), (257, 2), (65_536, 2), (65_537, 3)] {
            assert_eq!(position_bytes(dimension), bytes, "{dimension}");
        }
    }

    #[test]
    fn positions_that_fall_repeat_or_lie_outside_are_refused() {
        let share = Share::new(500_000).unwrap();
        let mut values = [0.0; 4];
        let mut decode = |bytes: &[u8]| decode_into(codec(share), share, bytes, &mut values);
        assert_eq!(decode(&[1, 3, 0, 0x38, 0, 0xc0]), Ok(()));
        for bad in [[3, 1], [1, 1], [1, 4], [1, 255]] {
            let bytes = [bad[0], bad[1], 0, 0x38, 0, 0xc0];
            assert!(
                matches!(decode(&bytes), Err(UpdateError::Malformed { .. })),
                "{bad:?}"
            );
        }
        let nan = decode(&[1, 3, 0, 0x38, 0, 0x7e]);
        assert_eq!(nan, Err(VectorError::NotFinite { index: 3 }.into()));
    }

    proptest! {
        #[test]
        fn every_vector_takes_the_same_bytes_and_comes_back_as_with_varying_widths(
            values in prop::collection::vec(-9.0f32..9.0, 1..700),
            zeros in prop::collection::vec(any::<bool>(), 700),
            millionths in 1u32..=1_000_000,
        ) {
            let share = Share::new(millionths).unwrap();
            let values: Vec<f32> = values.iter().zip(zeros).map(|(v, zero)| if zero { 0.0 } else { *v }).collect();
            let (mut fixed, mut varying, mut none) = (Vec::new(), Vec::new(), Vec::new());
            encode(share, &values, &mut fixed);
            encode(share, &vec![0.0; values.len()], &mut none);
            sparse::encode(share, &values, &mut varying);
            prop_assert_eq!(fixed.len(), encoded_len(share, values.len()));
            prop_assert_eq!(none.len(), fixed.len());
            let (mut one, mut other) = (vec![1.0; values.len()], vec![2.0; values.len()]);
            decode_into(codec(share), share, &fixed, &mut one).unwrap();
            sparse::decode_into(codec(share), share, &varying, &mut other).unwrap();
            prop_assert_eq!(one, other);
        }
    }
}
