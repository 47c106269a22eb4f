//! The documented wire formats, against the encoders and decoders.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test by panicking"
)]

use std::convert::Infallible;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng, TryRng};
use tributary_aggregator::{Codec, Scheme};

const DOCUMENT: &str = include_str!("../../docs/wire-formats.md");

/// One block of the document.
struct Example {
    codec: Codec,
    values: Vec<f32>,
    bytes: Vec<u8>,
    decoded: Vec<f32>,
}

fn examples() -> Vec<Example> {
    let blocks = DOCUMENT.split("```example\n").skip(1);
    blocks
        .map(|block| {
            let block = block.split("```").next().unwrap();
            let field = |name: &str| {
                let mut lines = block.lines();
                lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            };
            let values = field("values").unwrap();
            let dimension = match field("dimension") {
                Some(dimension) => dimension.parse().unwrap(),
                None => values.split(' ').count(),
            };
            let bytes = field("bytes").unwrap().split(' ');
            Example {
                codec: field("codec").unwrap().parse().unwrap(),
                values: vector(values, dimension),
                bytes: bytes
                    .map(|hex| u8::from_str_radix(hex, 16).unwrap())
                    .collect(),
                decoded: vector(field("decoded").unwrap(), dimension),
            }
        })
        .collect()
}

/// Values in order, or as `position:value`.
fn vector(text: &str, dimension: usize) -> Vec<f32> {
    let mut values = vec![0.0; dimension];
    for (order, word) in text.split(' ').enumerate() {
        let (index, value) = match word.split_once(':') {
            Some((index, value)) => (index.parse().unwrap(), value),
            None => (order, word),
        };
        values[index] = value.parse().unwrap();
    }
    values
}

fn decoded(codec: Codec, bytes: &[u8], dimension: usize) -> Vec<f32> {
    let mut values = vec![7.0; dimension];
    codec.decode_into(bytes, &mut values).unwrap();
    values
}

/// Gives one number only: the seed of a rotation.
struct Seed(u64);

impl TryRng for Seed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("a rotation draws one u64")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0)
    }

    fn try_fill_bytes(&mut self, _bytes: &mut [u8]) -> Result<(), Infallible> {
        unreachable!("a rotation draws one u64")
    }
}

#[test]
fn the_documented_bytes_decode_to_the_documented_values() {
    let examples = examples();
    assert_eq!(examples.len(), 14);
    for Example {
        codec,
        values,
        bytes,
        decoded: expected,
    } in examples
    {
        assert!(codec.encoded_len_range(values.len()).contains(&bytes.len()));
        assert_eq!(decoded(codec, &bytes, values.len()), expected, "{codec}");
    }
}

#[test]
fn the_documented_values_encode_to_the_documented_bytes() {
    for Example {
        codec,
        values,
        bytes,
        ..
    } in examples()
    {
        let encoded = match codec {
            Codec::Plain(Scheme::Drive | Scheme::Eden(_)) => {
                let seed = u64::from_le_bytes(*bytes.first_chunk().unwrap());
                codec.encode(&values, &mut Seed(seed))
            }
            // the levels are random, and the bytes of a frame are up to the compressor
            Codec::Plain(Scheme::Int8 | Scheme::Int4) | Codec::Zstd(_) => continue,
            Codec::Plain(_) => codec.encode(&values, &mut ChaCha20Rng::seed_from_u64(1)),
        };
        assert_eq!(encoded, bytes, "{codec}");
    }
}

#[test]
fn the_documented_lengths_are_the_real_ones() {
    let cases = [
        ("f32", 1000, 4000),
        ("f16", 1001, 2002),
        ("bf16", 1001, 2002),
        ("int8", 1_000_000, 1_003_908),
        ("int4", 1_000_000, 503_908),
        // blocks of 1,024 and 3
        ("int4", 1027, 4 + 512 + 4 + 2),
        ("drive", 1_000_000, 126_044),
        ("eden:4", 1_000_000, 501_212),
        // a group of 4,096, and 1 value padded to 128
        ("eden:3", 4097, 8 + 4 + 3 * 512 + 4 + 3 * 16),
    ];
    for (name, dimension, length) in cases {
        let codec: Codec = name.parse().unwrap();
        assert_eq!(
            codec.encoded_len_range(dimension),
            length..=length,
            "{name}"
        );
        let mut noise = ChaCha20Rng::seed_from_u64(1);
        let bytes = codec.encode(&vec![0.5; dimension], &mut noise);
        assert_eq!(bytes.len(), length, "{name}");
    }
    let top: Codec = "topk:0.01".parse().unwrap();
    assert_eq!(top.encoded_len_range(1_000_000), 7..=37_877);
    let compressed: Codec = "f32+zstd".parse().unwrap();
    assert_eq!(compressed.encoded_len_range(1000), 2..=4001);
}

/// The decoder of the page, for one group, with every entry of the matrix computed by itself.
fn decode_by_the_page(bytes: &[u8], centroids: &[f64], bits: usize, n: usize) -> Vec<f64> {
    let mut state = u64::from_le_bytes(*bytes.first_chunk().unwrap());
    let mut sign_bits = || {
        let mut bits = Vec::new();
        for _ in 0..n / 64 {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            bits.extend((0..64).map(|bit| if z >> bit & 1 == 1 { -1.0 } else { 1.0 }));
        }
        bits
    };
    let first: Vec<f64> = sign_bits();
    let second: Vec<f64> = sign_bits();
    let scale = f64::from(f32::from_le_bytes(*bytes[8..].first_chunk().unwrap()));
    let packed = &bytes[12..];
    let bit = |place: usize| usize::from(packed[place / 8] >> (place % 8) & 1);
    let walsh = |values: &[f64]| -> Vec<f64> {
        (0..n)
            .map(|i| {
                let entry = |j: usize| {
                    if (i & j).count_ones() % 2 == 1 {
                        -1.0
                    } else {
                        1.0
                    }
                };
                values.iter().enumerate().map(|(j, v)| entry(j) * v).sum()
            })
            .collect()
    };
    let times =
        |a: Vec<f64>, b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a * b).collect() };
    let chosen: Vec<f64> = (0..n)
        .map(|i| {
            centroids[(0..bits)
                .map(|place| bit(bits * i + place) << place)
                .sum::<usize>()]
        })
        .collect();
    let turned = times(walsh(&times(walsh(&chosen), &second)), &first);
    turned.iter().map(|v| scale * v / n as f64).collect()
}

#[test]
fn the_decoder_of_the_page_agrees_with_ours() {
    let mut noise = ChaCha20Rng::seed_from_u64(5);
    for (name, upper) in [
        ("drive", &[1.0][..]),
        ("eden:1", &[0.7978846]),
        ("eden:2", &[0.45278004, 1.5104176]),
        ("eden:3", &[0.24509418, 0.7560053, 1.3439093, 2.1519457]),
        (
            "eden:4",
            &[
                0.12839503, 0.3880483, 0.6567591, 0.94234044, 1.2562312, 1.6180464, 2.0690172,
                2.7325896,
            ],
        ),
    ] {
        let codec: Codec = name.parse().unwrap();
        let mut centroids: Vec<f64> = upper.iter().rev().map(|c| -c).collect();
        centroids.extend(upper);
        let bits = centroids.len().ilog2() as usize;
        for (dimension, n) in [(200, 256), (100, 128)] {
            let values: Vec<f32> = (0..dimension)
                .map(|_| noise.next_u32() as f32 / u32::MAX as f32 - 0.3)
                .collect();
            let bytes = codec.encode(&values, &mut noise);
            let ours = decoded(codec, &bytes, dimension);
            let page = decode_by_the_page(&bytes, &centroids, bits, n);
            for (ours, page) in ours.iter().zip(&page) {
                assert!(
                    (f64::from(*ours) - page).abs() < 1e-5,
                    "{name} {ours} {page}"
                );
            }
        }
    }
}
