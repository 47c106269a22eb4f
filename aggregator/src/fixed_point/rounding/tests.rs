//! The loops against one value at a time, for any length, place in memory and number of streams.

use proptest::prelude::*;

use super::constants::CEILING;
use super::registers::Kernel;
use super::*;
use crate::codec::{BLOCK, BlockScheme};

/// The integer that `value` times `factor` becomes, for products below [`CEILING`].
fn rounded(value: f32, factor: f32) -> i32 {
    (value * factor).round_ties_even() as i32
}

fn level(byte: u8) -> f32 {
    f32::from(byte as i8)
}

/// Adds `S` updates from every place within a line of memory; returns sums and squares.
fn floats<const S: usize>(values: &[Vec<f32>], start: usize) -> (Vec<i32>, [f64; S]) {
    let length = values[0].len() - start;
    let factors: [f32; S] = std::array::from_fn(|stream| 1000.0 + stream as f32);
    let streams = std::array::from_fn(|stream| &values[stream][start..]);
    let mut sums = vec![7; start + length];
    let squares = add::<Decoded, S, false>(streams, factors, &mut sums[start..]);
    (sums, squares)
}

/// The sums as a processor with registers of `W` values computes them.
fn at_width<const W: usize, const S: usize>(values: &[Vec<f32>], start: usize) -> Vec<i32> {
    let mut sums = vec![7; values[0].len() - start];
    let updates = std::array::from_fn(|stream| Plain::<Decoded> {
        values: &values[stream][start..],
        factor: 1000.0 + stream as f32,
    });
    let mut squares = [NO_SQUARES; S];
    let streams = Streams::<Plain<'_, Decoded>, S, false> {
        updates,
        sums: &mut sums,
        squares: &mut squares,
    };
    streams.lanes::<W>();
    sums
}

fn floats_are_summed<const S: usize>(values: &[Vec<f32>], start: usize) {
    let (mut sums, squares) = floats::<S>(values, start);
    for (index, sum) in sums.iter().enumerate() {
        let expected = if index < start {
            7
        } else {
            let integers =
                (0..S).map(|stream| rounded(values[stream][index], 1000.0 + stream as f32));
            let biases = BIAS.wrapping_mul(S as i32);
            7 + integers.sum::<i32>().wrapping_add(biases)
        };
        assert_eq!(*sum, expected, "{S} streams, index {index}, start {start}");
    }
    for (stream, squares) in squares.into_iter().enumerate() {
        let integers = values[stream][start..].iter();
        let exact: f64 = integers
            .map(|&value| f64::from(rounded(value, 1000.0 + stream as f32)).powi(2))
            .sum();
        assert!(
            (squares - exact).abs() <= exact / 16_000.0,
            "{squares} {exact}"
        );
    }
    assert_eq!(at_width::<4, S>(values, start), sums[start..]);
    assert_eq!(at_width::<8, S>(values, start), sums[start..]);
    assert_eq!(at_width::<16, S>(values, start), sums[start..]);
    let streams: [&[f32]; S] = std::array::from_fn(|stream| &values[stream][start..]);
    let factors = std::array::from_fn(|stream| 1000.0 + stream as f32);
    add::<Decoded, S, true>(streams, factors, &mut sums[start..]);
    assert!(sums.iter().all(|&sum| sum == 7));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn streams_of_any_length_and_place_are_rounded_added_and_squared(
        length in 1usize..700,
        start in 0usize..20,
        seed in any::<u32>(),
    ) {
        let values: Vec<Vec<f32>> = (0..8u32)
            .map(|stream| {
                (0..start + length)
                    .map(|index| {
                        let mixed = (index as u32 ^ seed.rotate_left(stream)).wrapping_mul(0x9e37_79b9);
                        mixed as i32 as f32 / 2e7
                    })
                    .collect()
            })
            .collect();
        floats_are_summed::<1>(&values, start);
        floats_are_summed::<4>(&values, start);
        floats_are_summed::<8>(&values, start);
    }
}

#[test]
fn squares_of_many_steps_stay_within_their_error() {
    // longer than what is added in f32 at once, with a part of a step at the end
    let values: Vec<Vec<f32>> = (0..8)
        .map(|stream| {
            (0..70_013)
                .map(|index| ((index * 31 + stream) % 997) as f32)
                .collect()
        })
        .collect();
    floats_are_summed::<1>(&values, 3);
    floats_are_summed::<8>(&values, 0);
}

#[test]
fn blocks_of_levels_of_any_count_are_rounded_added_and_squared() {
    for count in [
        1,
        3,
        4,
        7,
        8,
        9,
        17,
        466,
        1023,
        BLOCK,
        BLOCK + 1,
        3 * BLOCK + 77,
    ] {
        for factor in [0.37f32, -3.6, 40_000.0] {
            let streams: [Vec<u8>; 4] = std::array::from_fn(|stream| {
                let levels: Vec<u8> = (0..count)
                    .map(|index| (index * 37 + 128 + stream) as u8)
                    .collect();
                let blocks = levels.chunks(BLOCK).enumerate();
                blocks
                    .flat_map(|(number, levels)| {
                        let scale = 1.0 + number as f32 / 4.0;
                        [&scale.to_le_bytes(), levels].concat()
                    })
                    .collect()
            });
            let mut sums = vec![0; count];
            let bytes = streams.each_ref().map(Vec::as_slice);
            let squares = add_levels::<4, false>(bytes, [factor; 4], &mut sums);
            let mut exact = [0.0; 4];
            for (index, sum) in sums.iter().enumerate() {
                let (number, place) = (index / BLOCK, index % BLOCK);
                let factor = (1.0 + number as f32 / 4.0) * factor;
                let mut expected = Some(BIAS.wrapping_mul(4));
                for (stream, exact) in streams.iter().zip(&mut exact) {
                    let start = number * BlockScheme::Int8.block_len(BLOCK);
                    let level = level(stream[start + 4 + place]);
                    *exact += (f64::from(level) * f64::from(factor)).powi(2);
                    let integer = rounded(level, factor);
                    expected = expected
                        .filter(|_| integer.abs() < CEILING as i32)
                        .map(|sum| sum.wrapping_add(integer));
                }
                // a product above the ceiling is refused by its squares
                assert!(
                    expected.is_none_or(|expected| *sum == expected),
                    "{count} {factor}"
                );
            }
            for (squares, exact) in squares.into_iter().zip(exact) {
                assert!((squares - exact).abs() <= 1e-12 * exact, "{count} {factor}");
            }
            add_levels::<4, true>(bytes, [factor; 4], &mut sums);
            assert!(sums.iter().all(|&sum| sum == 0));
        }
    }
}

#[test]
fn values_that_are_not_finite_or_huge_leave_no_trace_when_taken_back() {
    let strange = [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        1e30,
        -1e30,
        -0.0,
        1e-40,
    ];
    let values: Vec<f32> = strange.iter().copied().cycle().take(333).collect();
    let mut sums: Vec<i32> = (0..333).collect();
    let [squares] = add::<Decoded, 1, false>([&values], [3.0], &mut sums);
    assert!(squares.is_nan() || squares >= 2f64.powi(44), "{squares}");
    add::<Decoded, 1, true>([&values], [3.0], &mut sums);
    assert!(sums.into_iter().eq(0..333));
}
