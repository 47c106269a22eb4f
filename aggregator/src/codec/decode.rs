//! Decoding, for any codec.

use super::block_scheme::BlockScheme;
use super::rotation::{self, Quantiser};
use super::scheme::{Codec, Scheme};
use super::{compressed, sparse, sparse_fixed};
use crate::error::UpdateError;

impl Codec {
    /// Decodes `bytes` into `values`, which has one place per parameter. What comes back without an
    /// error is finite. Memory beyond `values` is at most a few bytes a parameter, and for
    /// compressed codecs the decoder of a fixed size.
    ///
    /// # Errors
    /// [`UpdateError::WrongLength`], and `values` is unchanged; [`UpdateError::Malformed`] or
    /// [`VectorError::NotFinite`](tributary_privacy::VectorError::NotFinite), and `values` holds a
    /// mixture of old and decoded values.
    pub fn decode_into(self, bytes: &[u8], values: &mut [f32]) -> Result<(), UpdateError> {
        self.check_length(bytes.len(), values.len())?;
        match self {
            Codec::Plain(scheme) => scheme.decode_into(self, bytes, values),
            Codec::Zstd(scheme) => {
                let longest = *scheme.encoded_len_range(values.len()).end();
                let bytes = compressed::decompress(bytes, longest).map_err(|reason| {
                    UpdateError::Malformed {
                        codec: self,
                        reason,
                    }
                })?;
                let range = scheme.encoded_len_range(values.len());
                self.check_range(bytes.len(), values.len(), range)?;
                scheme.decode_into(self, &bytes, values)
            }
        }
    }
}

impl Scheme {
    /// Decodes bytes whose length was checked; `codec` is named in errors.
    fn decode_into(
        self,
        codec: Codec,
        bytes: &[u8],
        values: &mut [f32],
    ) -> Result<(), UpdateError> {
        match self {
            Scheme::F32 => BlockScheme::F32.decode_into(bytes, values),
            Scheme::F16 => BlockScheme::F16.decode_into(bytes, values),
            Scheme::Bf16 => BlockScheme::Bf16.decode_into(bytes, values),
            Scheme::Int8 => BlockScheme::Int8.decode_into(bytes, values),
            Scheme::Int4 => BlockScheme::Int4.decode_into(bytes, values),
            Scheme::TopK(share) => sparse::decode_into(codec, share, bytes, values),
            Scheme::TopKFixed(share) => sparse_fixed::decode_into(codec, share, bytes, values),
            Scheme::Drive => rotation::decode_into(Quantiser::Drive, bytes, values),
            Scheme::Eden(bits) => rotation::decode_into(Quantiser::Eden(bits), bytes, values),
        }
    }
}
