//! The codecs: how values are written, and whether the bytes are compressed.

use serde::{Deserialize, Serialize};

use super::share::Share;

/// How the values themselves are written. Everything is little endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// IEEE 754 single precision, 4 bytes a value, lossless.
    F32,
    /// IEEE 754 half precision, 2 bytes a value, rounded towards zero.
    ///
    /// Rounding towards zero never lets the norm grow, so a vector that was clipped before encoding
    /// still passes the exact check after it. Magnitudes above 65,504 become 65,504, those below
    /// 6e-8 become 0.
    F16,
    /// The upper half of single precision, 2 bytes a value, rounded towards zero: the range of
    /// `f32` with 8 bits of precision.
    Bf16,
    /// Blocks of 1,024 values with one scale and 8-bit levels, rounded stochastically (QSGD,
    /// Alistarh et al. 2017, with the maximum norm of a block).
    Int8,
    /// The same with 4-bit levels, two to a byte.
    Int4,
    /// The share of the values that is largest in magnitude, as positions and half-precision values
    /// rounded towards zero. Biased on its own: meant to be used with [`ErrorFeedback`](crate::ErrorFeedback).
    TopK(Share),
    /// The same in a length that depends on nothing but the number of values: always all of them, with
    /// positions of a fixed width. What runs with privacy use.
    TopKFixed(Share),
    /// One bit a value after a random rotation, with one unbiased scale a block (DRIVE, Vargaftik
    /// et al. 2021).
    Drive,
    /// A few bits a value after a random rotation, with one unbiased scale a block (EDEN, Vargaftik
    /// et al. 2022).
    Eden(EdenBits),
}

/// Encoding of a flat parameter vector: a scheme, and whether its bytes are compressed.
///
/// As a string, in recipes, on the wire and in serde: `f32`, `f16`, `bf16`, `int8`, `int4`,
/// `topk:SHARE` and `topk-fixed:SHARE` (above 0, at most 1, six decimals), `drive`, `eden:BITS` (1 to 4); each may end in
/// `+zstd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Codec {
    /// The bytes of the scheme as they are.
    Plain(Scheme),
    /// The bytes of the scheme in a Zstandard frame (RFC 8878), or as they are where the frame
    /// would be longer.
    Zstd(Scheme),
}

/// Bits that [`Scheme::Eden`] spends on a value: 1 to 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EdenBits(u8);

impl EdenBits {
    /// `None` unless `bits` is from 1 to 4. With more, [`Scheme::Int8`] costs less time for the
    /// same error.
    pub const fn new(bits: u8) -> Option<Self> {
        match bits {
            1..=4 => Some(Self(bits)),
            _ => None,
        }
    }

    /// The number of bits.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl Codec {
    /// [`Scheme::F32`].
    pub const F32: Codec = Codec::Plain(Scheme::F32);
    /// [`Scheme::F16`].
    pub const F16: Codec = Codec::Plain(Scheme::F16);
    /// [`Scheme::Bf16`].
    pub const BF16: Codec = Codec::Plain(Scheme::Bf16);
    /// [`Scheme::Int8`].
    pub const INT8: Codec = Codec::Plain(Scheme::Int8);
    /// [`Scheme::Int4`].
    pub const INT4: Codec = Codec::Plain(Scheme::Int4);
    /// [`Scheme::TopK`] with one value in a hundred.
    pub const TOP_1_PERCENT: Codec = Codec::Plain(Scheme::TopK(Share::ONE_PERCENT));
    /// [`Scheme::Drive`].
    pub const DRIVE: Codec = Codec::Plain(Scheme::Drive);
    /// [`Scheme::Eden`] with two bits.
    pub const EDEN_2: Codec = Codec::Plain(Scheme::Eden(EdenBits(2)));
    /// [`Scheme::Eden`] with four bits.
    pub const EDEN_4: Codec = Codec::Plain(Scheme::Eden(EdenBits(4)));

    /// A member of every family, and two of them compressed: what the tests go through.
    pub const ALL: [Codec; 12] = [
        Codec::F32,
        Codec::F16,
        Codec::BF16,
        Codec::INT8,
        Codec::INT4,
        Codec::TOP_1_PERCENT,
        Codec::Plain(Scheme::TopKFixed(Share::ONE_PERCENT)),
        Codec::DRIVE,
        Codec::EDEN_2,
        Codec::EDEN_4,
        Codec::Zstd(Scheme::F32),
        Codec::Zstd(Scheme::Int4),
    ];

    /// How the values are written.
    pub fn scheme(self) -> Scheme {
        match self {
            Codec::Plain(scheme) | Codec::Zstd(scheme) => scheme,
        }
    }

    /// True when encoding draws random numbers, so that two encodings of one vector differ.
    pub fn is_stochastic(self) -> bool {
        match self.scheme() {
            Scheme::F32 | Scheme::F16 | Scheme::Bf16 | Scheme::TopK(_) | Scheme::TopKFixed(_) => {
                false
            }
            Scheme::Int8 | Scheme::Int4 | Scheme::Drive | Scheme::Eden(_) => true,
        }
    }

    /// The codec whose lengths say nothing of the values: the same, but with positions of a fixed width
    /// for a sparse one, and `None` for a compressed one, whose length is what it saves.
    pub fn of_fixed_length(self) -> Option<Codec> {
        match self {
            Codec::Zstd(_) => None,
            Codec::Plain(Scheme::TopK(share)) => Some(Codec::Plain(Scheme::TopKFixed(share))),
            Codec::Plain(_) => Some(self),
        }
    }
}

impl Scheme {
    /// True when most values are left out, so that [`ErrorFeedback`](crate::ErrorFeedback) has something to keep.
    pub fn is_sparse(self) -> bool {
        matches!(self, Scheme::TopK(_) | Scheme::TopKFixed(_))
    }
}
