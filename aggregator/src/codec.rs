//! How a vector of `f32` becomes bytes on the wire, and back.

use std::fmt;
use std::str::FromStr;

use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use serde::{Deserialize, Serialize};

use crate::error::UpdateError;

/// Values decoded at a time: small enough to stay in the first-level cache.
pub(crate) const BLOCK: usize = 1024;

/// Encoding of a flat parameter vector. All codecs are little endian and have a fixed width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// IEEE 754 single precision, 4 bytes a value, lossless.
    F32,
    /// IEEE 754 half precision, 2 bytes a value, rounded towards zero.
    ///
    /// Rounding towards zero never lets the norm grow, so a vector that was clipped before encoding
    /// still passes the exact check after it. Magnitudes above 65,504 become 65,504.
    F16,
}

impl Codec {
    /// Every codec, in order of preference.
    pub const ALL: [Codec; 2] = [Codec::F32, Codec::F16];

    /// The name used in recipes and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Codec::F32 => "f32",
            Codec::F16 => "f16",
        }
    }

    /// Bytes that one value takes.
    pub fn bytes_per_value(self) -> usize {
        match self {
            Codec::F32 => 4,
            Codec::F16 => 2,
        }
    }

    /// Bytes that `dimension` values take; saturates at `usize::MAX`.
    pub fn encoded_len(self, dimension: usize) -> usize {
        dimension.saturating_mul(self.bytes_per_value())
    }

    /// Encodes `values`. Non-finite values stay non-finite, so that the receiver refuses them.
    pub fn encode(self, values: &[f32]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.encoded_len(values.len()));
        match self {
            Codec::F32 => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Codec::F16 => bytes.extend(
                values
                    .iter()
                    .flat_map(|&value| truncate_to_half(value).to_le_bytes()),
            ),
        }
        bytes
    }

    /// Decodes `bytes` into `values`, which has one place per parameter.
    ///
    /// # Errors
    /// [`UpdateError::WrongLength`] when the lengths disagree; `values` is then unchanged. The
    /// values themselves are not checked here.
    pub fn decode_into(self, bytes: &[u8], values: &mut [f32]) -> Result<(), UpdateError> {
        self.check_length(bytes, values.len())?;
        let blocks = bytes.chunks(BLOCK * self.bytes_per_value());
        for (bytes, values) in blocks.zip(values.chunks_mut(BLOCK)) {
            self.decode_block(bytes, values);
        }
        Ok(())
    }

    /// Checks that `bytes` holds exactly `dimension` values.
    pub(crate) fn check_length(self, bytes: &[u8], dimension: usize) -> Result<(), UpdateError> {
        let expected = self.encoded_len(dimension);
        if bytes.len() == expected {
            return Ok(());
        }
        Err(UpdateError::WrongLength {
            codec: self,
            dimension,
            expected,
            actual: bytes.len(),
        })
    }

    /// Decodes at most [`BLOCK`] values; extra bytes or places are ignored.
    pub(crate) fn decode_block(self, bytes: &[u8], values: &mut [f32]) {
        match self {
            Codec::F32 => {
                for (value, raw) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *value = f32::from_le_bytes(*raw);
                }
            }
            Codec::F16 => {
                let mut bits = [0u16; BLOCK];
                let raw = bytes.as_chunks::<2>().0;
                let count = raw.len().min(values.len()).min(BLOCK);
                for (bits, raw) in bits.iter_mut().zip(raw) {
                    *bits = u16::from_le_bytes(*raw);
                }
                let halves: &[f16] = bits[..count].reinterpret_cast();
                halves.convert_to_f32_slice(&mut values[..count]);
            }
        }
    }
}

/// The half-precision value nearest to `value` that is not larger in magnitude.
fn truncate_to_half(value: f32) -> f16 {
    let nearest = f16::from_f32(value);
    if nearest.to_f32().abs() > value.abs() {
        // the bits of one sign are ordered by magnitude, and a larger magnitude is not zero
        return f16::from_bits(nearest.to_bits() - 1);
    }
    nearest
}

impl fmt::Display for Codec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A codec name that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("codec {name:?} is not known; use one of f32, f16")]
pub struct UnknownCodec {
    /// The refused name.
    pub name: String,
}

impl FromStr for Codec {
    type Err = UnknownCodec;

    fn from_str(name: &str) -> Result<Self, UnknownCodec> {
        let found = Codec::ALL.into_iter().find(|codec| codec.name() == name);
        // a hostile name must not fill the log
        found.ok_or_else(|| UnknownCodec {
            name: name.chars().take(32).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_parse_back_to_their_codec() {
        for codec in Codec::ALL {
            assert_eq!(codec.name().parse(), Ok(codec));
        }
        assert!("int3".parse::<Codec>().is_err());
    }

    #[test]
    fn half_precision_saturates_towards_zero_and_keeps_non_finite_values() {
        assert_eq!(truncate_to_half(1e9).to_f32(), 65504.0);
        assert_eq!(truncate_to_half(-70000.0).to_f32(), -65504.0);
        assert_eq!(truncate_to_half(1e-30).to_f32(), 0.0);
        assert!(truncate_to_half(f32::NAN).is_nan());
        assert!(truncate_to_half(f32::INFINITY).is_infinite());
    }

    #[test]
    fn a_wrong_length_is_refused_with_both_lengths() {
        let mut values = [7.0; 3];
        let error = Codec::F32.decode_into(&[0; 11], &mut values).unwrap_err();
        assert_eq!(
            error,
            UpdateError::WrongLength {
                codec: Codec::F32,
                dimension: 3,
                expected: 12,
                actual: 11
            }
        );
        assert_eq!(values, [7.0; 3]);
    }

    proptest! {
        #[test]
        fn f32_comes_back_bit_for_bit(bits in prop::collection::vec(any::<u32>(), 0..3000)) {
            let values: Vec<f32> = bits.iter().map(|&b| f32::from_bits(b)).collect();
            let mut back = vec![0.0; values.len()];
            Codec::F32.decode_into(&Codec::F32.encode(&values), &mut back).unwrap();
            prop_assert!(values.iter().zip(&back).all(|(a, b)| a.to_bits() == b.to_bits()));
        }

        #[test]
        fn f16_is_near_and_never_larger(values in prop::collection::vec(-9.0f32..9.0, 0..3000)) {
            let mut back = vec![0.0; values.len()];
            Codec::F16.decode_into(&Codec::F16.encode(&values), &mut back).unwrap();
            for (value, back) in values.iter().zip(&back) {
                prop_assert!(back.abs() <= value.abs());
                prop_assert!((value - back).abs() <= value.abs() * 9.8e-4 + 6e-8);
            }
        }
    }
}
