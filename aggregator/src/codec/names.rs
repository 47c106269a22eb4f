//! Codecs as strings.

use std::fmt;
use std::str::FromStr;

use super::scheme::{Codec, EdenBits, Scheme};
use super::share::Share;

/// Behind the name of a scheme whose bytes are compressed.
const COMPRESSED: &str = "+zstd";

/// A codec name that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "codec {name:?} is not known; use f32, f16, bf16, int8, int4, topk:SHARE or topk-fixed:SHARE with \
     a share above 0 and at most 1 (six decimals), drive or eden:BITS with 1 to 4 bits, each with +zstd behind it \
     if its bytes are to be compressed"
)]
pub struct UnknownCodec {
    /// The refused name, cut to 32 characters.
    pub name: String,
}

impl Codec {
    /// The name used in recipes and on the wire, as [`fmt::Display`] writes it.
    pub fn name(self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scheme::F32 => formatter.write_str("f32"),
            Scheme::F16 => formatter.write_str("f16"),
            Scheme::Bf16 => formatter.write_str("bf16"),
            Scheme::Int8 => formatter.write_str("int8"),
            Scheme::Int4 => formatter.write_str("int4"),
            Scheme::TopK(share) => write!(formatter, "topk:{share}"),
            Scheme::TopKFixed(share) => write!(formatter, "topk-fixed:{share}"),
            Scheme::Drive => formatter.write_str("drive"),
            Scheme::Eden(bits) => write!(formatter, "eden:{}", bits.get()),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Codec::Plain(scheme) => write!(formatter, "{scheme}"),
            Codec::Zstd(scheme) => write!(formatter, "{scheme}{COMPRESSED}"),
        }
    }
}

impl FromStr for Codec {
    type Err = UnknownCodec;

    fn from_str(name: &str) -> Result<Self, UnknownCodec> {
        let codec = match name.strip_suffix(COMPRESSED) {
            Some(scheme) => parse_scheme(scheme).map(Codec::Zstd),
            None => parse_scheme(name).map(Codec::Plain),
        };
        // a hostile name must not fill the log
        codec.ok_or_else(|| UnknownCodec {
            name: name.chars().take(32).collect(),
        })
    }
}

fn parse_scheme(name: &str) -> Option<Scheme> {
    match name.split_once(':') {
        Some(("topk", share)) => Share::parse(share).map(Scheme::TopK),
        Some(("topk-fixed", share)) => Share::parse(share).map(Scheme::TopKFixed),
        Some(("eden", bits)) => parse_bits(bits).map(Scheme::Eden),
        Some(_) => None,
        None => match name {
            "f32" => Some(Scheme::F32),
            "f16" => Some(Scheme::F16),
            "bf16" => Some(Scheme::Bf16),
            "int8" => Some(Scheme::Int8),
            "int4" => Some(Scheme::Int4),
            "drive" => Some(Scheme::Drive),
            _ => None,
        },
    }
}

fn parse_bits(bits: &str) -> Option<EdenBits> {
    match bits.as_bytes() {
        [digit @ b'1'..=b'9'] => EdenBits::new(digit - b'0'),
        _ => None,
    }
}

impl From<Codec> for String {
    fn from(codec: Codec) -> String {
        codec.to_string()
    }
}

impl TryFrom<String> for Codec {
    type Error = UnknownCodec;

    fn try_from(name: String) -> Result<Self, UnknownCodec> {
        name.parse()
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
            let json = serde_json::to_string(&codec).unwrap();
            assert_eq!(json, format!("\"{codec}\""));
            assert_eq!(serde_json::from_str::<Codec>(&json).unwrap(), codec);
        }
    }

    #[test]
    fn names_are_the_documented_ones() {
        let names: Vec<String> = Codec::ALL.into_iter().map(Codec::name).collect();
        assert_eq!(
            names.join(" "),
            "f32 f16 bf16 int8 int4 topk:0.01 topk-fixed:0.01 drive eden:2 eden:4 f32+zstd int4+zstd"
        );
    }

    #[test]
    fn names_that_mean_nothing_are_refused() {
        let refused = [
            "",
            "int3",
            "F32",
            "f32 ",
            "f32:1",
            "topk",
            "topk:",
            "topk:0",
            "topk:0.0",
            "topk:1.1",
            "topk:-0.1",
            "topk:+0.1",
            "topk:1e-2",
            "topk:.5",
            "topk:0.0000001",
            "topk:NaN",
            "topk:1.",
            "topk-fixed",
            "topk-fixed:0",
            "eden",
            "eden:0",
            "eden:5",
            "eden:04",
            "eden:",
            "drive:1",
            "+zstd",
            "f32+zstd+zstd",
            "zstd",
            "f32+gzip",
        ];
        for name in refused {
            assert!(name.parse::<Codec>().is_err(), "{name:?}");
        }
        let long = "x".repeat(1000).parse::<Codec>().unwrap_err();
        assert_eq!(long.name.len(), 32);
    }

    #[test]
    fn shares_are_read_exactly() {
        for (text, millionths, shown) in [
            ("topk:1", 1_000_000, "topk:1"),
            ("topk:1.000000", 1_000_000, "topk:1"),
            ("topk:0.10", 100_000, "topk:0.1"),
            ("topk:0.000001", 1, "topk:0.000001"),
            ("topk:0.33", 330_000, "topk:0.33"),
        ] {
            let codec: Codec = text.parse().unwrap();
            assert_eq!(
                codec.scheme(),
                Scheme::TopK(Share::new(millionths).unwrap())
            );
            assert_eq!(codec.to_string(), shown);
        }
    }

    proptest! {
        #[test]
        fn every_share_comes_back(millionths in 1u32..=1_000_000) {
            let codec = Codec::Zstd(Scheme::TopK(Share::new(millionths).unwrap()));
            prop_assert_eq!(codec.to_string().parse(), Ok(codec));
        }

        #[test]
        fn any_name_is_a_codec_or_an_error(name in ".{0,40}") {
            if let Ok(codec) = name.parse::<Codec>() {
                prop_assert_eq!(codec.to_string().parse(), Ok(codec));
            }
        }
    }
}
