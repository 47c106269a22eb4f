//! Sums and releases through the public interface.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test by panicking"
)]

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tributary_aggregator::{
    Codec, FixedPoint, Partial, PartialError, ReleaseError, UpdateError, release_mean,
};
use tributary_privacy::{DiscreteGaussian, NoiseSource, SCALE, VectorError, clip_l2};

const DIMENSION: usize = 1500;

/// For codecs that draw nothing from it.
fn noise() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(1)
}

/// A clipped update whose values follow from `seed` alone.
fn update(seed: u64, dimension: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut values: Vec<f32> = (0..dimension)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect();
    clip_l2(&mut values, 1.0).unwrap();
    values
}

fn encoded(count: u64) -> Vec<Vec<u8>> {
    (0..count)
        .map(|seed| Codec::F32.encode(&update(seed, DIMENSION), &mut noise()))
        .collect()
}

fn sum(fixed: &FixedPoint, updates: &[Vec<u8>]) -> Partial {
    let mut partial = Partial::new(DIMENSION);
    for bytes in updates {
        partial
            .add(&fixed.contribution(Codec::F32, bytes).unwrap())
            .unwrap();
    }
    partial
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_order_and_any_split_give_identical_bits(
        order in Just((0..12usize).collect::<Vec<_>>()).prop_shuffle(),
        groups in prop::collection::vec(0usize..4, 12),
        merge_order in Just((0..4usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let fixed = FixedPoint::new(1.0, DIMENSION).unwrap();
        let updates = encoded(12);
        let whole = sum(&fixed, &updates);

        let mut parts = vec![Partial::new(DIMENSION); 4];
        for index in order {
            parts[groups[index]].add_encoded(&fixed, Codec::F32, &updates[index]).unwrap();
        }
        let mut merged = Partial::new(DIMENSION);
        for part in merge_order {
            // a restart in between: through bytes and back
            let stored = Partial::from_bytes(&parts[part].to_bytes()).unwrap();
            merged.merge(&stored).unwrap();
        }
        prop_assert_eq!(&merged, &whole);
        prop_assert_eq!(merged.to_bytes(), whole.to_bytes());

        let noise = DiscreteGaussian::new(1 << 20).unwrap();
        let release = |partial| {
            let mut source = NoiseSource::seeded([5; 32]);
            release_mean(partial, &fixed, 12.0, Some((&noise, &mut source))).unwrap()
        };
        prop_assert_eq!(release(&merged), release(&whole));
    }

    #[test]
    fn merging_is_associative_and_commutative(a in 0u64..5, b in 0u64..5, c in 0u64..5) {
        let fixed = FixedPoint::new(1.0, DIMENSION).unwrap();
        let updates = encoded(15);
        let parts = [
            sum(&fixed, &updates[..a as usize]),
            sum(&fixed, &updates[5..5 + b as usize]),
            sum(&fixed, &updates[10..10 + c as usize]),
        ];
        let merged = |left: &Partial, right: &Partial| {
            let mut left = left.clone();
            left.merge(right).unwrap();
            left
        };
        let [x, y, z] = &parts;
        prop_assert_eq!(merged(x, y), merged(y, x));
        prop_assert_eq!(merged(&merged(x, y), z), merged(x, &merged(y, z)));
    }

    #[test]
    fn a_refused_update_leaves_no_trace(
        position in 0..DIMENSION,
        fault in 0usize..5,
        cut in 0usize..4 * DIMENSION,
    ) {
        let fixed = FixedPoint::new(1.0, DIMENSION).unwrap();
        let updates = encoded(3);
        let mut partial = sum(&fixed, &updates);
        let before = partial.clone();
        let mut values = update(9, DIMENSION);
        match fault {
            0 => values[position] = f32::NAN,
            1 => values[position] = f32::NEG_INFINITY,
            2 => values[position] = 2.0,
            3 => values.iter_mut().for_each(|value| *value *= 1.01),
            _ => {}
        }
        let mut bytes = Codec::F32.encode(&values, &mut noise());
        if fault == 4 {
            bytes.truncate(cut);
        }
        let fused = partial.add_encoded(&fixed, Codec::F32, &bytes).unwrap_err();
        prop_assert_eq!(&partial, &before);
        let refusal = fixed.contribution(Codec::F32, &bytes).unwrap_err();
        prop_assert_eq!(fused, PartialError::Update(refusal));
    }

    #[test]
    fn any_bytes_are_a_partial_or_a_typed_error(
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        header in any::<bool>(),
        dimension in 0u64..6,
        count in 0u64..4,
    ) {
        let mut whole = Vec::new();
        if header {
            whole.extend_from_slice(b"TRBPART2");
            for field in [dimension, count, count << 20, count] {
                whole.extend_from_slice(&field.to_le_bytes());
            }
        }
        whole.extend_from_slice(&bytes);
        if let Ok(partial) = Partial::from_bytes(&whole) {
            let again = Partial::from_bytes(&partial.to_bytes()).unwrap();
            prop_assert_eq!(again, partial);
        }
    }
}

#[test]
fn a_partial_survives_storage_in_both_widths() {
    let fixed = FixedPoint::new(1.0, 2).unwrap();
    let bytes = Codec::F32.encode(&[0.7, -0.7], &mut noise());
    let mut partial = Partial::new(2);
    partial.add_encoded(&fixed, Codec::F32, &bytes).unwrap();
    assert_eq!(partial.to_bytes().len(), 41 + 2 * 4);
    for _ in 0..12 {
        // doubling passes 2^31
        let copy = partial.clone();
        partial.merge(&copy).unwrap();
    }
    assert_eq!(partial.count(), 4096);
    let stored = partial.to_bytes();
    assert_eq!(stored.len(), 41 + 2 * 8);
    assert_eq!(Partial::from_bytes(&stored), Ok(partial));
    for length in 0..stored.len() {
        assert!(matches!(
            Partial::from_bytes(&stored[..length]),
            Err(PartialError::Malformed { .. })
        ));
    }
}

#[test]
fn a_stored_sum_beyond_what_its_count_allows_is_refused() {
    let mut bytes = Partial::new(1).to_bytes();
    bytes[41] = 1;
    assert!(matches!(
        Partial::from_bytes(&bytes),
        Err(PartialError::Malformed { .. })
    ));
}

#[test]
fn a_partial_refuses_to_count_past_its_limit() {
    let fixed = FixedPoint::new(1.0, 1).unwrap();
    let mut partial = Partial::new(1);
    partial
        .add_encoded(&fixed, Codec::F32, &Codec::F32.encode(&[0.5], &mut noise()))
        .unwrap();
    for _ in 0..40 {
        let copy = partial.clone();
        partial.merge(&copy).unwrap();
    }
    assert_eq!(partial.count(), 1 << 40);
    assert!(partial.sums().eq([(SCALE as i64 / 2) << 40]));
    let copy = partial.clone();
    assert_eq!(
        partial.merge(&copy),
        Err(PartialError::TooManyContributions)
    );
    assert_eq!(partial, copy);
    let one = fixed
        .contribution(Codec::F32, &Codec::F32.encode(&[0.5], &mut noise()))
        .unwrap();
    assert_eq!(partial.add(&one), Err(PartialError::TooManyContributions));
}

#[test]
fn parts_of_different_models_do_not_mix() {
    let fixed = FixedPoint::new(1.0, 2).unwrap();
    let mismatch = PartialError::DimensionMismatch {
        expected: 3,
        actual: 2,
    };
    let mut partial = Partial::new(3);
    assert_eq!(partial.merge(&Partial::new(2)), Err(mismatch.clone()));
    assert_eq!(
        partial.add_encoded(&fixed, Codec::F32, &[0; 8]),
        Err(mismatch)
    );
    assert_eq!(
        release_mean(&partial, &fixed, 1.0, None),
        Err(ReleaseError::DimensionMismatch {
            expected: 2,
            actual: 3
        })
    );
}

#[test]
fn the_mean_without_noise_is_the_mean_of_the_updates() {
    let fixed = FixedPoint::new(1.0, DIMENSION).unwrap();
    let partial = sum(&fixed, &encoded(7));
    let mean = release_mean(&partial, &fixed, 7.0, None).unwrap();
    for (index, value) in mean.iter().enumerate() {
        let exact = (0..7)
            .map(|seed| f64::from(update(seed, DIMENSION)[index]))
            .sum::<f64>()
            / 7.0;
        assert!((f64::from(*value) - exact).abs() < 1e-6);
    }
    // the denominator is the planned number, not the count
    let fixed_denominator = release_mean(&partial, &fixed, 14.0, None).unwrap();
    assert!(
        mean.iter()
            .zip(&fixed_denominator)
            .all(|(m, f)| m / 2.0 == *f)
    );
}

#[test]
fn released_noise_has_the_scale_that_was_asked_for() {
    // 100,000 values over two streams; six standard errors of a variance are 2.7 %
    let dimension = 100_000;
    let (clip, sigma, denominator) = (0.5f32, 1u64 << 21, 10.0);
    let fixed = FixedPoint::new(clip, dimension).unwrap();
    let noise = DiscreteGaussian::new(sigma).unwrap();
    let mut source = NoiseSource::seeded([11; 32]);
    let empty = Partial::new(dimension);
    let mean = release_mean(&empty, &fixed, denominator, Some((&noise, &mut source))).unwrap();
    let variance = mean.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / dimension as f64;
    let expected = sigma as f64 * fixed.step() / denominator;
    assert!(
        (variance / expected.powi(2) - 1.0).abs() < 0.027,
        "{variance}"
    );
}

#[test]
fn nothing_is_released_from_nothing() {
    let fixed = FixedPoint::new(1.0, 1).unwrap();
    assert_eq!(
        release_mean(&Partial::new(1), &fixed, 1.0, None),
        Err(ReleaseError::Empty)
    );
    let noise = DiscreteGaussian::new(5).unwrap();
    let mut source = NoiseSource::seeded([0; 32]);
    for denominator in [0.0, -1.0, f64::INFINITY, f64::NAN] {
        let outcome = release_mean(
            &Partial::new(1),
            &fixed,
            denominator,
            Some((&noise, &mut source)),
        );
        assert!(matches!(outcome, Err(ReleaseError::BadDenominator { .. })));
    }
}

#[test]
fn debug_output_of_a_partial_shows_no_sum() {
    let partial = sum(&FixedPoint::new(1.0, DIMENSION).unwrap(), &encoded(2));
    assert_eq!(
        format!("{partial:?}"),
        "Partial(1500 parameters, 2 contributions)"
    );
}

#[test]
fn half_precision_updates_sum_like_full_ones() {
    let fixed = FixedPoint::new(1.0, DIMENSION).unwrap();
    let mut half = Partial::new(DIMENSION);
    for seed in 0..5 {
        let bytes = Codec::F16.encode(&update(seed, DIMENSION), &mut noise());
        half.add_encoded(&fixed, Codec::F16, &bytes).unwrap();
    }
    let full = sum(&fixed, &encoded(5));
    for (a, b) in half.sums().zip(full.sums()) {
        // a value is at most 0.1 here: five truncations of 2^-11 of it
        assert!((a - b).abs() < 5 * 110, "{a} {b}");
    }
}

#[test]
fn refusals_say_what_to_do_and_not_what_the_device_sent() {
    let fixed = FixedPoint::new(1.0, 2).unwrap();
    let refused = fixed
        .contribution(Codec::F32, &Codec::F32.encode(&[3.25, 1.0], &mut noise()))
        .unwrap_err();
    assert!(matches!(
        refused,
        UpdateError::Vector(VectorError::NormTooLarge { .. })
    ));
    let text = refused.to_string();
    assert!(
        text.contains("clip") && !text.contains("3.25") && !text.contains("3.4"),
        "{text}"
    );
}
