//! What holds for every codec.

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tributary_privacy::VectorError;

use super::*;
use crate::{FixedPoint, UpdateError};

fn noise(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn decoded(codec: Codec, bytes: &[u8], dimension: usize) -> Vec<f32> {
    let mut values = vec![0.0; dimension];
    codec.decode_into(bytes, &mut values).unwrap();
    values
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
            shortest: 12,
            longest: 12,
            actual: 11
        }
    );
    assert_eq!(values, [7.0; 3]);
}

#[test]
fn an_update_of_a_million_parameters_has_the_promised_size() {
    let values: Vec<f32> = (0..1_000_000).map(|i| (i as f32).sin()).collect();
    let size = |codec: Codec| codec.encode(&values, &mut noise(1)).len();
    assert!(size(Codec::INT8) <= 1_010_000);
    assert!(size(Codec::TOP_1_PERCENT) <= 45_000);
    // and no update of that many parameters, whatever its values, is longer
    assert!(*Codec::INT8.encoded_len_range(1_000_000).end() <= 1_010_000);
    assert!(*Codec::TOP_1_PERCENT.encoded_len_range(1_000_000).end() <= 45_000);
}

#[test]
fn a_value_that_is_not_finite_reaches_the_receiver_as_such() {
    for codec in Codec::ALL {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = vec![1e-3; 5000];
            values[4500] = bad;
            let bytes = codec.encode(&values, &mut noise(2));
            let refused = codec.decode_into(&bytes, &mut vec![0.0; 5000]);
            assert!(
                matches!(
                    refused,
                    Err(UpdateError::Vector(VectorError::NotFinite {
                        index: 4096..=4500
                    }))
                ),
                "{codec} {refused:?}"
            );
            let grid = FixedPoint::new(1.0, 5000).unwrap();
            assert!(grid.contribution(codec, &bytes).is_err(), "{codec}");
            let unsent = codec.encode_clipped(&values, 1.0, &mut noise(2));
            assert_eq!(unsent, Err(VectorError::NotFinite { index: 4500 }));
        }
    }
}

#[test]
fn zeros_come_back_as_zeros_and_are_a_valid_update() {
    for codec in Codec::ALL {
        for dimension in [1, 1500] {
            let zeros = vec![0.0; dimension];
            let bytes = codec.encode(&zeros, &mut noise(3));
            let mut values = vec![7.0; dimension];
            codec.decode_into(&bytes, &mut values).unwrap();
            assert_eq!(values, zeros, "{codec}");
            let grid = FixedPoint::new(1.0, dimension).unwrap();
            let zero = grid.contribution(codec, &bytes).unwrap();
            assert!(zero.values().iter().all(|value| *value == 0), "{codec}");
        }
    }
}

#[test]
fn a_codec_without_randomness_leaves_the_generator_alone() {
    for codec in Codec::ALL {
        let mut used = noise(4);
        codec.encode(&[0.25; 300], &mut used);
        assert_eq!(used != noise(4), codec.is_stochastic(), "{codec}");
    }
}

/// Every codec, and every number of bits with and without compression.
fn any_codec() -> impl Strategy<Value = Codec> {
    let scheme = prop_oneof![
        Just(Scheme::F32),
        Just(Scheme::F16),
        Just(Scheme::Bf16),
        Just(Scheme::Int8),
        Just(Scheme::Int4),
        Just(Scheme::Drive),
        (1u8..=4).prop_map(|bits| Scheme::Eden(EdenBits::new(bits).unwrap())),
        (1u32..=1_000_000).prop_map(|share| Scheme::TopK(Share::new(share).unwrap())),
        (1u32..=1_000_000).prop_map(|share| Scheme::TopKFixed(Share::new(share).unwrap())),
    ];
    (scheme, any::<bool>()).prop_map(|(scheme, compressed)| match compressed {
        false => Codec::Plain(scheme),
        true => Codec::Zstd(scheme),
    })
}

/// Dimensions on both sides of every border.
fn any_dimension() -> impl Strategy<Value = usize> {
    prop_oneof![
        prop::sample::select(vec![
            1, 2, 3, 7, 127, 128, 129, 1023, 1024, 1025, 2048, 4095, 4096, 4097, 8193
        ]),
        1usize..6000,
    ]
}

/// Vectors of many shapes: even, spread over magnitudes, and with a few values that dominate.
fn any_vector() -> impl Strategy<Value = Vec<f32>> {
    (any_dimension(), 0usize..4, any::<u64>(), -30i32..30).prop_map(
        |(dimension, shape, seed, exponent)| {
            let mut source = noise(seed);
            let mut uniform = || rand_core::Rng::next_u32(&mut source) as f32 / u32::MAX as f32;
            let size = f32::powi(2.0, exponent);
            (0..dimension)
                .map(|index| match shape {
                    0 => size,
                    1 => size * (2.0 * uniform() - 1.0),
                    2 => size * (uniform() - 0.5) * f32::powi(2.0, (uniform() * 60.0) as i32 - 30),
                    _ if index % 997 == 0 => size,
                    _ => size * 1e-4 * (uniform() - 0.5),
                })
                .collect()
        },
    )
}

fn norm(values: &[f32]) -> f64 {
    values
        .iter()
        .map(|&value| f64::from(value).powi(2))
        .sum::<f64>()
        .sqrt()
}

proptest! {
    #[test]
    fn what_is_encoded_for_a_clip_is_accepted_with_that_clip(
        codec in any_codec(),
        values in any_vector(),
        // at most the norm of the vector in most cases, and sometimes far above it
        clip_exponent in -20i32..10,
        seed in any::<u64>(),
    ) {
        let size = norm(&values);
        let clip = ((size * f64::powi(2.0, clip_exponent.min(3))) as f32).clamp(1e-10, 1e10);
        let grid = FixedPoint::new(clip, values.len()).unwrap();
        let bytes = codec.encode_clipped(&values, clip, &mut noise(seed)).unwrap();
        prop_assert!(codec.encoded_len_range(values.len()).contains(&bytes.len()));
        let outcome = grid.contribution(codec, &bytes);
        prop_assert!(outcome.is_ok(), "{:?}", outcome);
        prop_assert!(norm(&decoded(codec, &bytes, values.len())) <= f64::from(clip));
    }

    #[test]
    fn what_is_encoded_comes_back_within_the_bound_of_its_codec(
        codec in any_codec(),
        values in any_vector(),
        seed in any::<u64>(),
    ) {
        let bytes = codec.encode(&values, &mut noise(seed));
        let range = codec.encoded_len_range(values.len());
        prop_assert!(range.contains(&bytes.len()), "{} not in {:?}", bytes.len(), range);
        let back = decoded(codec, &bytes, values.len());
        let error: Vec<f32> = values.iter().zip(&back).map(|(a, b)| a - b).collect();
        match codec.scheme() {
            Scheme::F32 => prop_assert_eq!(back, values),
            Scheme::F16 => {
                for ((value, back), error) in values.iter().zip(&back).zip(&error) {
                    prop_assert!(back.abs() <= value.abs());
                    let lost = error.abs() <= value.abs() * 9.8e-4 + 6e-8;
                    prop_assert!(lost || back.abs() == 65504.0);
                }
            }
            Scheme::Bf16 => {
                for ((value, back), error) in values.iter().zip(&back).zip(&error) {
                    prop_assert!(back.abs() <= value.abs() && error.abs() <= value.abs() / 128.0);
                }
            }
            Scheme::Int8 | Scheme::Int4 => {
                let levels = if codec.scheme() == Scheme::Int8 { 127.0 } else { 7.0 };
                for (block, error) in values.chunks(BLOCK).zip(error.chunks(BLOCK)) {
                    let peak = block.iter().fold(0.0f32, |peak, value| peak.max(value.abs()));
                    let step = peak / levels * 1.0001;
                    prop_assert!(error.iter().all(|error| error.abs() <= step));
                }
            }
            Scheme::TopK(share) | Scheme::TopKFixed(share) => {
                // the residual holds the d - k smallest values, so at most that share of the energy
                let kept = share.count(values.len()) as f64 / values.len() as f64;
                let saturated = back.iter().any(|back| back.abs() == 65504.0);
                let dust = 6e-8 * (values.len() as f64).sqrt();
                let bound = (1.0 - kept).sqrt() * norm(&values) + 1e-3 * norm(&values) + dust;
                prop_assert!(saturated || norm(&error) <= bound);
            }
            Scheme::Drive | Scheme::Eden(_) => {
                // the scale makes <x, decoded> the squared norm, in every group
                for (group, back) in values.chunks(4096).zip(back.chunks(4096)) {
                    let product: f64 = group
                        .iter()
                        .zip(back)
                        .map(|(&a, &b)| f64::from(a) * f64::from(b))
                        .sum();
                    let square = norm(group).powi(2);
                    prop_assert!((product - square).abs() <= 1e-4 * square);
                }
            }
        }
    }

    #[test]
    fn any_byte_string_decodes_to_finite_values_or_a_typed_error(
        codec in any_codec(),
        dimension in any_dimension(),
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        pad in any::<bool>(),
    ) {
        let mut bytes = bytes;
        let range = codec.encoded_len_range(dimension);
        if pad && bytes.len() < *range.start() {
            bytes.resize(*range.start(), 0x3b);
        }
        let mut values = vec![0.0; dimension];
        if codec.decode_into(&bytes, &mut values).is_ok() {
            prop_assert!(values.iter().all(|value| value.is_finite()));
            prop_assert!(range.contains(&bytes.len()));
        }
    }
}
