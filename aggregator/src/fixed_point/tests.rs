//! The grid and its check, against integer arithmetic.

use proptest::prelude::*;
use tributary_privacy::{MAX_DIMENSION, clip_l2};

use super::*;
use crate::codec::{BLOCK, Codec};

fn encode(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

#[test]
fn the_bound_is_the_scale_plus_half_the_root_of_the_dimension() {
    for (dimension, extra) in [(1, 1), (4, 1), (5, 2), (16, 2), (17, 3), (1_000_000, 500)] {
        assert_eq!(
            FixedPoint::new(1.0, dimension).unwrap().bound(),
            SCALE + extra
        );
    }
    assert!(FixedPoint::new(1.0, MAX_DIMENSION).unwrap().bound() < MAX_MAGNITUDE);
}

#[test]
fn values_are_rounded_to_the_nearest_grid_step() {
    let fixed = FixedPoint::new(2.0, 4).unwrap();
    let step = fixed.step() as f32;
    let bytes = encode(&[step * 0.4, step * 0.6, -step * 7.0, 1.5]);
    let contribution = fixed.contribution(Codec::F32, &bytes).unwrap();
    assert_eq!(contribution.values(), [0, 1, -7, 786_432]);
}

#[test]
fn the_norm_check_is_exact_to_one_unit() {
    // S + 1 in one place is exactly the bound for d = 1; the next value up is over it
    let fixed = FixedPoint::new(1.0, 1).unwrap();
    let step = 1.0 / SCALE as f32;
    assert!(
        fixed
            .contribution(Codec::F32, &encode(&[1.0 + step]))
            .is_ok()
    );
    assert_eq!(
        fixed.contribution(Codec::F32, &encode(&[1.0 + 2.0 * step])),
        Err(UpdateError::Vector(VectorError::NormTooLarge {
            clip: 1.0,
            bound: SCALE + 1
        }))
    );
}

#[test]
fn a_norm_that_grows_over_many_blocks_is_refused() {
    let fixed = FixedPoint::new(1.0, 4 * BLOCK).unwrap();
    let each = 1.01 / (4.0 * BLOCK as f32).sqrt();
    let refused = fixed.contribution(Codec::F32, &encode(&vec![each; 4 * BLOCK]));
    assert!(matches!(
        refused,
        Err(UpdateError::Vector(VectorError::NormTooLarge { .. }))
    ));
}

#[test]
fn a_zero_update_is_valid_and_short_long_and_non_finite_ones_are_refused() {
    let fixed = FixedPoint::new(1.0, 3000).unwrap();
    let zero = fixed.contribution(Codec::F32, &encode(&vec![0.0; 3000]));
    assert_eq!(zero.unwrap().values(), [0; 3000]);
    let dust = fixed.contribution(Codec::F32, &encode(&vec![1e-9; 3000]));
    assert_eq!(dust.unwrap().values(), [0; 3000]);
    for length in [0, 11_999, 12_001, 24_000] {
        let refused = fixed.contribution(Codec::F32, &vec![0; length]);
        assert!(matches!(refused, Err(UpdateError::WrongLength { .. })));
    }
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = vec![1e-4; 3000];
        values[2500] = bad;
        let refused = fixed.contribution(Codec::F32, &encode(&values));
        assert_eq!(refused, Err(VectorError::NotFinite { index: 2500 }.into()));
    }
}

#[test]
fn huge_finite_values_are_refused_as_too_large() {
    for clip in [1e-12, 1.0, 1e12] {
        let fixed = FixedPoint::new(clip, 2).unwrap();
        for huge in [f32::MAX, f32::MIN, clip * 3e9, clip * 1e15] {
            let refused = fixed.contribution(Codec::F32, &encode(&[huge, 0.0]));
            assert!(
                matches!(
                    refused,
                    Err(UpdateError::Vector(VectorError::NormTooLarge { .. }))
                ),
                "{clip} {huge}"
            );
        }
    }
}

#[test]
fn debug_output_shows_no_value() {
    let fixed = FixedPoint::new(1.0, 1).unwrap();
    let contribution = fixed.contribution(Codec::F32, &encode(&[0.5])).unwrap();
    assert_eq!(format!("{contribution:?}"), "Contribution(1 values)");
}

proptest! {
    #[test]
    fn any_byte_string_is_bounded_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        clip in 1e-12f32..1e12,
    ) {
        let length = bytes.len();
        let dimensions = [
            (Codec::F32, length / 4),
            (Codec::F16, length / 2),
            (Codec::BF16, length / 2),
            (Codec::INT8, length.saturating_sub(4)),
            (Codec::INT4, 2 * length.saturating_sub(4)),
            (Codec::TOP_1_PERCENT, 1000),
        ];
        for (codec, dimension) in dimensions {
            let dimension = dimension.max(1);
            let fixed = FixedPoint::new(clip, dimension).unwrap();
            if let Ok(contribution) = fixed.contribution(codec, &bytes) {
                let squares: u128 = contribution
                    .values()
                    .iter()
                    .map(|&q| u128::from(q.unsigned_abs()).pow(2))
                    .sum();
                prop_assert!(squares <= u128::from(fixed.bound()).pow(2));
            }
        }
    }

    #[test]
    fn accepted_integers_are_the_nearest_to_the_scaled_values(
        values in prop::collection::vec(-0.9f32..0.9, 1..40),
        spread in 1.0f32..8.0,
    ) {
        let clip = spread * (values.len() as f32).sqrt();
        let fixed = FixedPoint::new(clip, values.len()).unwrap();
        if let Ok(contribution) = fixed.contribution(Codec::F32, &encode(&values)) {
            let factor = (SCALE as f64 / f64::from(clip)) as f32;
            for (&value, &q) in values.iter().zip(contribution.values()) {
                prop_assert_eq!(q, (value * factor).round_ties_even() as i32);
                let exact = f64::from(value) * SCALE as f64 / f64::from(clip);
                let error = 0.5 + exact.abs() * f64::powi(2.0, -23);
                prop_assert!((exact - f64::from(q)).abs() <= error);
            }
        }
    }

    #[test]
    fn the_bound_decides_exactly_as_integer_arithmetic_does(
        direction in prop::collection::vec(-100i32..100, 1..2100),
        slack in -40i64..40,
    ) {
        // integer vectors near the bound, sent as exact grid points
        let fixed = FixedPoint::new(1.0, direction.len()).unwrap();
        let norm = direction.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        prop_assume!(norm > 0.0);
        let target = fixed.bound() as f64 + slack as f64;
        let grid: Vec<f32> =
            direction.iter().map(|&v| (f64::from(v) / norm * target).round() as f32).collect();
        let squares: u128 = grid.iter().map(|&q| (q.abs() as u128).pow(2)).sum();
        let values: Vec<f32> = grid.iter().map(|q| q / SCALE as f32).collect();
        let outcome = fixed.contribution(Codec::F32, &encode(&values));
        prop_assert_eq!(outcome.is_ok(), squares <= u128::from(fixed.bound()).pow(2));
    }

    #[test]
    fn levels_are_judged_exactly_as_integer_arithmetic_does(
        direction in prop::collection::vec(any::<i8>(), 1..2100),
        slack in -3.0f64..3.0,
        clip in 0.1f32..10.0,
        flat in any::<bool>(),
    ) {
        // scales that put the rounded norm next to the bound; flat: all values on one rounding edge
        let direction: Vec<i8> = if flat { vec![1; direction.len()] } else { direction };
        let grid = FixedPoint::new(clip, direction.len()).unwrap();
        let norm = direction.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        prop_assume!(norm > 0.0);
        let scale = ((grid.bound() as f64 + slack) / norm * grid.step()) as f32;
        let mut bytes = Vec::new();
        for block in direction.chunks(BLOCK) {
            bytes.extend_from_slice(&scale.to_le_bytes());
            bytes.extend(block.iter().map(|&level| level as u8));
        }
        let factor = scale * (SCALE as f64 / f64::from(clip)) as f32;
        let integers: Vec<i32> = direction
            .iter()
            .map(|&level| (f32::from(level) * factor).round_ties_even() as i32)
            .collect();
        let squares: u128 = integers.iter().map(|&q| u128::from(q.unsigned_abs()).pow(2)).sum();
        let outcome = grid.contribution(Codec::INT8, &bytes);
        let limit = u128::from(grid.bound()).pow(2);
        prop_assert_eq!(outcome.is_ok(), squares <= limit);
        if let Ok(contribution) = outcome {
            prop_assert_eq!(contribution.values(), integers);
        }
    }

    #[test]
    fn a_share_scales_the_integers_and_lowers_the_bound(
        values in prop::collection::vec(-1.0f32..1.0, 1..1500),
        share in 0.001f32..=1.0,
    ) {
        let mut values = values;
        clip_l2(&mut values, 0.3).unwrap();
        let fresh = FixedPoint::new(0.3, values.len()).unwrap();
        let late = fresh.scaled(share).unwrap();
        prop_assert!(late.bound() <= fresh.bound());
        prop_assert_eq!(late.step(), fresh.step());
        match late.contribution(Codec::F32, &encode(&values)) {
            Ok(contribution) => for (&value, &q) in values.iter().zip(contribution.values()) {
                let exact = f64::from(value) * f64::from(share) / late.step();
                prop_assert!((exact - f64::from(q)).abs() <= 0.5 + exact.abs() * 1.2e-7);
            },
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}

#[test]
fn a_scale_that_no_float_can_hold_is_refused_and_a_large_one_is_read_rightly() {
    let grid = FixedPoint::new(1.0, 3).unwrap();
    let send = |scale: f32, levels: [i8; 3]| {
        let mut bytes = scale.to_le_bytes().to_vec();
        bytes.extend(levels.map(|level| level as u8));
        grid.contribution(Codec::INT8, &bytes)
    };
    for scale in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for levels in [[0, 0, 1], [-128, 0, 127]] {
            let refused = send(scale, levels);
            assert!(matches!(
                refused,
                Err(UpdateError::Vector(VectorError::NotFinite { .. }))
            ));
        }
    }
    for scale in [f32::MAX, 3.0, -1e9] {
        let refused = send(scale, [0, -1, 0]);
        assert!(matches!(
            refused,
            Err(UpdateError::Vector(VectorError::NormTooLarge { .. }))
        ));
    }
    for (scale, levels) in [(-0.0, [1, 2, -3]), (1e-40, [127; 3]), (7.0, [0; 3])] {
        assert_eq!(send(scale, levels).unwrap().values(), [0; 3]);
    }
    let one = SCALE as i32;
    assert_eq!(send(1.0, [0, -1, 0]).unwrap().values(), [0, -one, 0]);
    assert_eq!(
        send(-1.0 / 128.0, [0, -128, 0]).unwrap().values(),
        [0, one, 0]
    );
}

#[test]
fn only_shares_above_zero_and_up_to_one_are_taken() {
    let grid = FixedPoint::new(1.0, 16).unwrap();
    for share in [0.0, -0.5, 1.0000001, f32::NAN, f32::INFINITY] {
        assert!(matches!(
            grid.scaled(share),
            Err(UpdateError::BadShare { .. })
        ));
    }
    assert_eq!(grid.scaled(1.0), Ok(grid));
    assert_eq!(grid.scaled(0.5).unwrap().bound(), SCALE / 2 + 2);
    // 1 / sqrt(1 + 2): the first integer that is not below it
    assert_eq!(grid.scaled(1.0 / 3f32.sqrt()).unwrap().bound(), 605_396 + 2);
}
