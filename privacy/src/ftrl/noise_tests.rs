//! The emitted noise: what it is made of, its statistics, and its stored form.

use proptest::prelude::*;

use super::{Blt, CorrelatedNoise, FtrlError, Participation, Strategy, integer_blt};
use crate::{DiscreteGaussian, NoiseSource};

fn two_buffers() -> Strategy {
    Strategy::Blt(Blt::new(vec![0.9, 0.3], vec![0.2, 0.2]).unwrap())
}

fn source(seed: u8) -> NoiseSource {
    NoiseSource::seeded([seed; 32])
}

/// The noise of `rounds` rounds, one row per round.
fn rows(strategy: &Strategy, rounds: usize, dimension: usize, sigma: u64) -> Vec<Vec<i64>> {
    let mut state = CorrelatedNoise::new(strategy.clone(), dimension).unwrap();
    let seeds = DiscreteGaussian::new(sigma).unwrap();
    let mut source = source(7);
    let next = |_| {
        let mut sums = vec![0; dimension];
        state.add_next(&mut sums, &seeds, &mut source).unwrap();
        sums
    };
    (0..rounds).map(next).collect()
}

/// The seeds that the same source gives, in units of the sums' grid.
fn seed_rows(rounds: usize, dimension: usize, sigma: u64, grid_bits: u32) -> Vec<Vec<f64>> {
    let seeds = DiscreteGaussian::new(sigma << grid_bits).unwrap();
    let mut source = source(7);
    let next = |_| {
        let mut row = vec![0i64; dimension];
        seeds.add_noise(&mut row, &mut source);
        let unit = f64::from(1u32 << grid_bits);
        row.iter().map(|&value| value as f64 / unit).collect()
    };
    (0..rounds).map(next).collect()
}

#[test]
fn a_blt_emits_its_inverse_applied_to_the_seeds_up_to_rounding() {
    let (rounds, dimension, sigma) = (40, 70, 1000);
    let strategies = [
        Blt::new(vec![0.9, 0.3], vec![0.2, 0.2]).unwrap(),
        Blt::new(vec![0.999_43, 0.986, 0.789], vec![0.0336, 0.105, 0.325]).unwrap(),
    ];
    for blt in strategies {
        let emitted = rows(&Strategy::Blt(blt.clone()), rounds, dimension, sigma);
        let seeds = seed_rows(rounds, dimension, sigma, integer_blt::GRID_BITS);
        // C x = z + e with |e| <= slack, the inverse doubles it at most; and 1/2 for the last step
        let allowed = 2.0 * integer_blt::slack(&blt, rounds as u32) + 0.5;
        for column in 0..dimension {
            let expected = blt.apply_inverse(seeds.iter().map(|row| row[column]));
            for (round, expected) in expected.enumerate() {
                let difference = emitted[round][column] as f64 - expected;
                assert!(difference.abs() <= allowed, "{difference} in round {round}");
            }
        }
    }
}

/// The step that the sensitivity proof rests on: |z' - z - C D| <= slack per coordinate and round,
/// for seeds that explain the same outputs with sums that differ by D.
#[test]
fn seeds_of_neighbours_differ_by_c_d_and_at_most_the_slack() {
    let blt = Blt::new(vec![0.999, 0.97, 0.5], vec![0.03, 0.1, 0.35]).unwrap();
    let integer = integer_blt::IntegerBlt::new(&blt);
    let (rounds, dimension) = (300usize, 16);
    // the seeds that make the machine emit `wanted` on the fine grid: a seed of 0 emits -r
    let seeds_of = |wanted: &[Vec<i64>]| -> Vec<Vec<i64>> {
        let mut buffers = vec![vec![0i64; dimension]; blt.buffers()];
        let round = |wanted: &Vec<i64>| {
            let mut taken = vec![0; dimension];
            integer.step(&mut taken, &mut borrowed(&mut buffers.clone()));
            let seeds: Vec<i64> = wanted.iter().zip(&taken).map(|(x, r)| x - r).collect();
            let mut emitted = seeds.clone();
            integer.step(&mut emitted, &mut borrowed(&mut buffers));
            assert_eq!(&emitted, wanted);
            seeds
        };
        wanted.iter().map(round).collect()
    };
    let outputs = rows(&Strategy::Blt(blt.clone()), rounds, dimension, 50_000);
    let change = |round: usize, index: usize| match (round, index % 3) {
        (20 | 120 | 220, 0) => 1_000_003,
        (20 | 120 | 220, 1) => -77_777,
        _ => 0,
    };
    let moved: Vec<Vec<i64>> = outputs
        .iter()
        .enumerate()
        .map(|(t, row)| {
            row.iter()
                .enumerate()
                .map(|(i, x)| x + change(t, i))
                .collect()
        })
        .collect();
    let (first, second) = (seeds_of(&outputs), seeds_of(&moved));
    let coefficients = blt.coefficients(rounds);
    let unit = f64::from(1u32 << integer_blt::GRID_BITS);
    let allowed = integer_blt::slack(&blt, rounds as u32) * unit;
    let mut worst = 0.0f64;
    for index in 0..dimension {
        for t in 0..rounds {
            let linear: f64 = (0..=t)
                .map(|s| coefficients[t - s] * change(s, index) as f64)
                .sum();
            let actual = (second[t][index] - first[t][index]) as f64;
            worst = worst.max((actual - linear).abs());
        }
    }
    assert!(worst <= allowed, "{worst} above {allowed}");
    // rounding does happen, and the bound is not idle
    assert!(worst > 0.2 * allowed, "{worst} far below {allowed}");
}

fn borrowed(buffers: &mut [Vec<i64>]) -> Vec<&mut [i64]> {
    buffers.iter_mut().map(Vec::as_mut_slice).collect()
}

#[test]
fn a_tree_emits_differences_of_node_sums() {
    let (rounds, dimension, sigma) = (37, 5, 1000);
    let emitted = rows(&Strategy::Tree, rounds, dimension, sigma);
    let seeds = seed_rows(rounds, dimension, sigma, 0);
    // the node that ends at t carries the seed of round t
    let total = |t: usize, column: usize| {
        let (mut rest, mut sum) = (t, 0.0);
        while rest > 0 {
            sum += seeds[rest - 1][column];
            rest &= rest - 1;
        }
        sum
    };
    for (round, row) in emitted.iter().enumerate() {
        for (column, &noise) in row.iter().enumerate() {
            assert_eq!(
                noise as f64,
                total(round + 1, column) - total(round, column)
            );
        }
    }
}

/// 16,384 coordinates are as many independent samples of the noise in the running sum, whose mean
/// square has a relative deviation of sqrt(2 / 16384) = 1.1 %; five of them are allowed, a false
/// alarm of 6e-7 per check, 2e-5 over all; the seed is fixed.
#[test]
fn running_sums_carry_the_variance_that_is_promised() {
    let (rounds, dimension, sigma) = (17, 16_384, 1000);
    for strategy in [two_buffers(), Strategy::Tree] {
        let mut sums = vec![0i64; dimension];
        for (round, row) in rows(&strategy, rounds, dimension, sigma).iter().enumerate() {
            sums.iter_mut()
                .zip(row)
                .for_each(|(sum, noise)| *sum += noise);
            let square: f64 = sums.iter().map(|&sum| (sum as f64).powi(2)).sum();
            let variance = square / dimension as f64 / (sigma as f64).powi(2);
            let expected = strategy.running_sum_variance(round as u32 + 1);
            let ratio = variance / expected;
            assert!(
                (ratio - 1.0).abs() < 5.0 * 0.011_05,
                "{ratio} in round {round}"
            );
        }
    }
}

/// Cov(x_t, x_s) = sum_i w_i w_(i + t - s) sigma^2. A mean of 16,384 products has a deviation below
/// sqrt(2 / 16384) of the variance (at most 2 sigma^2); five of them: a false alarm of 6e-7 per pair.
#[test]
fn the_noise_of_two_rounds_is_correlated_as_the_inverse_says() {
    let (rounds, dimension, sigma) = (8, 16_384, 1000);
    let strategy = two_buffers();
    let Strategy::Blt(blt) = &strategy else {
        unreachable!()
    };
    let inverse = blt.inverse_coefficients(rounds);
    let emitted = rows(&strategy, rounds, dimension, sigma);
    for t in 0..rounds {
        for s in 0..=t {
            let products = emitted[t].iter().zip(&emitted[s]);
            let mean = products.map(|(a, b)| (a * b) as f64).sum::<f64>() / dimension as f64;
            let expected: f64 = (0..=s).map(|i| inverse[i] * inverse[i + t - s]).sum();
            let difference = mean / (sigma as f64).powi(2) - expected;
            assert!(
                difference.abs() < 5.0 * 0.011_05 * 2.0,
                "{difference} for {t}, {s}"
            );
        }
    }
}

#[test]
fn refused_rounds_change_nothing() {
    let seeds = DiscreteGaussian::new(100).unwrap();
    for strategy in [two_buffers(), Strategy::Tree] {
        let state = CorrelatedNoise::new(strategy, 3).unwrap();
        let mut state = state.with_planned_rounds(1).unwrap();
        let mut sums = vec![0; 2];
        let mut source = source(1);
        let short = state.add_next(&mut sums, &seeds, &mut source);
        assert!(matches!(short, Err(FtrlError::DimensionMismatch { .. })));
        let mut sums = vec![5; 3];
        state.add_next(&mut sums, &seeds, &mut source).unwrap();
        let (before, kept) = (state.to_bytes(), sums.clone());
        let spent = state.add_next(&mut sums, &seeds, &mut source);
        assert_eq!(spent, Err(FtrlError::RoundsSpent { planned: 1 }));
        let shorter = state.clone().with_planned_rounds(0);
        assert!(matches!(shorter, Err(FtrlError::PlanTooShort { .. })));
        let mut state = state.with_planned_rounds(9).unwrap();
        let other = DiscreteGaussian::new(101).unwrap();
        let changed = state.add_next(&mut sums, &other, &mut source);
        assert!(matches!(changed, Err(FtrlError::SigmaChanged { .. })));
        let state = state.with_planned_rounds(1).unwrap();
        assert_eq!((state.to_bytes(), sums), (before, kept));
    }
}

#[test]
fn seeds_too_wide_for_the_buffers_are_refused_but_not_those_of_real_runs() {
    let participation = Participation::new(2048, 5, 400).unwrap();
    let blt = Blt::optimise(&participation).unwrap();
    let largest = integer_blt::largest_sigma(&blt);
    // clip 2^20 times sensitivity times a noise multiplier of 50
    let needed = blt.squared_sensitivity(&participation).sqrt() * 50.0 * f64::from(1u32 << 20);
    assert!(largest as f64 > needed, "{largest} below {needed}");
    let mut state = CorrelatedNoise::new(Strategy::Blt(blt), 2).unwrap();
    let mut next = |sigma| {
        let seeds = DiscreteGaussian::new(sigma).unwrap();
        state.add_next(&mut [0, 0], &seeds, &mut source(1))
    };
    let refused = next(largest + 1).unwrap_err();
    assert!(matches!(refused, FtrlError::SigmaTooLarge { .. }) && next(largest).is_ok());
}

#[test]
fn dimensions_out_of_range_are_refused() {
    for dimension in [0, crate::MAX_DIMENSION + 1] {
        let refused = CorrelatedNoise::new(Strategy::Tree, dimension).unwrap_err();
        assert!(matches!(refused, FtrlError::BadDimension { .. }));
        assert!(CorrelatedNoise::from_bytes(Strategy::Tree, dimension, &[0; 64]).is_err());
    }
}

#[test]
fn debug_output_shows_no_noise() {
    let mut state = CorrelatedNoise::new(two_buffers(), 1).unwrap();
    let seeds = DiscreteGaussian::new(100).unwrap();
    state.add_next(&mut [0], &seeds, &mut source(1)).unwrap();
    let text = format!("{state:?}");
    let expected = "CorrelatedNoise(Blt(Blt { theta: [0.9, 0.3], omega: [0.2, 0.2] }), 1 values, \
                    1 rounds)";
    assert_eq!(text, expected);
}

fn any_strategy() -> impl proptest::strategy::Strategy<Value = Strategy> {
    prop_oneof![Just(two_buffers()), Just(Strategy::Tree)]
}

/// A state of 3 values after some rounds.
fn after(strategy: &Strategy, rounds: u32, seed: u8) -> CorrelatedNoise {
    let mut state = CorrelatedNoise::new(strategy.clone(), 3).unwrap();
    let seeds = DiscreteGaussian::new(1 << 20).unwrap();
    let mut source = source(seed);
    for _ in 0..rounds {
        state.add_next(&mut [0; 3], &seeds, &mut source).unwrap();
    }
    state
}

proptest! {
    #[test]
    fn a_restored_state_goes_on_with_identical_bits(
        strategy in any_strategy(), rounds in 0u32..20, seed: u8, more in 1u32..10,
    ) {
        let mut state = after(&strategy, rounds, seed);
        let bytes = state.to_bytes();
        prop_assert!(bytes.len() <= strategy.state_bytes(rounds, 3));
        let mut restored = CorrelatedNoise::from_bytes(strategy, 3, &bytes).unwrap();
        prop_assert_eq!(restored.to_bytes(), bytes);
        let seeds = DiscreteGaussian::new(1 << 20).unwrap();
        let (mut first, mut second) = (source(seed ^ 1), source(seed ^ 1));
        for _ in 0..more {
            let (mut one, mut other) = ([7; 3], [7; 3]);
            state.add_next(&mut one, &seeds, &mut first).unwrap();
            restored.add_next(&mut other, &seeds, &mut second).unwrap();
            prop_assert_eq!(one, other);
        }
        prop_assert_eq!(state.to_bytes(), restored.to_bytes());
        prop_assert_eq!(restored.round(), rounds + more);
    }

    #[test]
    fn damaged_bytes_are_refused(
        strategy in any_strategy(), rounds in 0u32..9, place: prop::sample::Index, change in 1u8..,
    ) {
        let mut bytes = after(&strategy, rounds, 3).to_bytes();
        let place = place.index(bytes.len());
        bytes[place] ^= change;
        let refused = CorrelatedNoise::from_bytes(strategy.clone(), 3, &bytes);
        let named = matches!(refused, Err(FtrlError::Malformed { .. }));
        prop_assert!(named);
        bytes[place] ^= change;
        prop_assert!(CorrelatedNoise::from_bytes(strategy.clone(), 3, &bytes[..place]).is_err());
        prop_assert!(CorrelatedNoise::from_bytes(strategy.clone(), 4, &bytes).is_err());
        let other = Strategy::Blt(Blt::new(vec![0.9, 0.31], vec![0.2, 0.2]).unwrap());
        prop_assert!(CorrelatedNoise::from_bytes(other, 3, &bytes).is_err());
        bytes.push(0);
        prop_assert!(CorrelatedNoise::from_bytes(strategy, 3, &bytes).is_err());
    }

    #[test]
    fn any_bytes_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(CorrelatedNoise::from_bytes(Strategy::Tree, 3, &bytes).is_err());
    }
}
