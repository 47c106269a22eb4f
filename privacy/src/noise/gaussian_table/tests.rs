use proptest::prelude::*;
use rand_core::SeedableRng;

use super::super::uniform::scripted::Scripted;
use super::*;

fn table(sigma: u64) -> GaussianTable {
    GaussianTable::new(&DiscreteGaussian::new(sigma).unwrap()).unwrap()
}

/// What the columns give to each place.
fn dealt(columns: &[Column; COLUMNS]) -> [u64; COLUMNS] {
    let mut weights = [0; COLUMNS];
    for (place, column) in columns.iter().enumerate() {
        weights[place] += u64::from(column.threshold);
        weights[column.alias as usize] += (1 << COLUMN_BITS) - u64::from(column.threshold);
    }
    weights
}

#[test]
fn scales_without_a_table_are_refused() {
    for (p, q) in [(1, 1), (63, 1), (601, 2), (3, 10)] {
        let gaussian = DiscreteGaussian::from_ratio(p, q).unwrap();
        let refused = GaussianTable::new(&gaussian).unwrap_err();
        assert!(matches!(refused, NoiseError::NoTable { least: 64, .. }));
    }
    assert_eq!(table(64).gaussian(), &DiscreteGaussian::new(64).unwrap());
}

#[test]
fn columns_deal_every_place_exactly_its_weight() {
    for sigma in [64, 65, 79, 80, 1_000, 1 << 20, (1 << 40) - 7, 1 << 40] {
        let table = table(sigma);
        let dealt = dealt(&table.columns);
        for (bin, &weight) in table.bins.iter().zip(&dealt) {
            assert_eq!(bin.weight, weight);
        }
        assert_eq!(dealt[BINS], 1, "the tail");
        assert_eq!(dealt.iter().sum::<u64>(), TOTAL);
        // next to nothing is thrown away at once
        assert!(dealt[COLUMNS - 1] < 512, "{}", dealt[COLUMNS - 1]);
    }
}

/// A word that draws `place` with the given sign.
fn word_for(table: &GaussianTable, place: usize, negative: bool) -> u32 {
    let sign = u32::from(negative) << 31;
    for (number, column) in table.columns.iter().enumerate() {
        let top = (number as u32) << COLUMN_BITS | sign;
        if number == place && column.threshold > 0 {
            return top;
        }
        if column.alias as usize == place && column.threshold < 1 << COLUMN_BITS {
            return top | column.threshold;
        }
    }
    unreachable!("every place has some weight")
}

#[test]
fn words_of_every_kind_lead_where_the_proof_says() {
    let table = table(1 << 20);
    let width = table.width;
    assert_eq!(width, 1 << 16);
    // bin 3, offset 5: a word w below 2^16 is the offset's integer w
    let bin = word_for(&table, 3, false);
    let offset = 5 << 16;
    assert_eq!(
        table.sample(&mut Scripted(vec![bin, offset, 0])),
        3 * (1 << 16) + 5
    );
    let bin = word_for(&table, 3, true);
    assert_eq!(
        table.sample(&mut Scripted(vec![bin, offset, 0])),
        -(3 * (1 << 16) + 5)
    );
    // a refused place, then nothing, then minus zero, then zero
    let (plus, minus) = (word_for(&table, 0, false), word_for(&table, 0, true));
    let nothing = word_for(&table, COLUMNS - 1, false);
    let refused = [bin, u32::MAX, u32::MAX];
    let zeros = [minus, 0, 0, plus, 0, 0];
    let words = [&refused[..], &[nothing], &zeros].concat();
    assert_eq!(table.sample(&mut Scripted(words)), 0);
    // the tail: two heads, then none, offset 1 of 2^20; kept with a chance of 2^-36, so U needs two words
    let tail = word_for(&table, BINS, true);
    let start = (BINS as i64) * (1 << 16) + 2 * (1 << 20);
    let words = vec![tail, u32::MAX, 1 << 31, 0, 1 << 12, 0, 0];
    assert_eq!(table.sample(&mut Scripted(words)), -(start + 1));
    // ... and refused: the next proposal is zero
    let words = vec![tail, 0, 1 << 12, u32::MAX, plus, 0, 0];
    assert_eq!(table.sample(&mut Scripted(words)), 0);
}

/// Draws with a table whose tail begins at 1.5 sigma, so that every seventh proposal or so is one of
/// the tail and decided in integers. Chi-square with 37 degrees at most: 37 + 5 sqrt(74) + 13 is
/// passed with probability below 1e-5 by chance; the seed is fixed.
#[test]
fn the_tail_follows_the_exact_probabilities() {
    let gaussian = DiscreteGaussian::new(64).unwrap();
    let table = GaussianTable::with_bins(&gaussian, 24).unwrap();
    assert!(table.tail_weight > TOTAL / 100);
    let mut rng = ChaCha20Rng::from_seed([31; 32]);
    let draws = 4_000;
    let weight = |x: i64| (-(x as f64 / 64.0).powi(2) / 2.0).exp();
    let total: f64 = (-800..=800).map(weight).sum();
    // cells of 16 integers from -304 to 304
    let cell = |x: i64| (x.clamp(-304, 303) + 304) / 16;
    let (mut expected, mut found) = (vec![0.0; 38], vec![0.0; 38]);
    for x in -800..=800 {
        expected[cell(x) as usize] += weight(x) / total * f64::from(draws);
    }
    for _ in 0..draws {
        found[cell(table.sample(&mut rng)) as usize] += 1.0;
    }
    let mut statistic = 0.0;
    let (mut rare_expected, mut rare_found) = (0.0, 0.0);
    for (e, f) in expected.iter().zip(&found) {
        if *e < 10.0 {
            rare_expected += e;
            rare_found += f;
        } else {
            statistic += (f - e) * (f - e) / e;
        }
    }
    assert!(rare_expected > 10.0);
    statistic += (rare_found - rare_expected) * (rare_found - rare_expected) / rare_expected;
    assert!(
        statistic < 37.0 + 5.0 * 74.0f64.sqrt() + 13.0,
        "{statistic}"
    );
}

/// The weights that make every probability at most 1, by floats good to 1e-12: the proof's margin of
/// 2^-30 is a thousand times wider.
#[test]
fn every_weight_is_large_enough_and_hardly_larger() {
    for (sigma, bins) in [
        (64, BINS),
        (65, BINS),
        (79, BINS),
        (1 << 20, BINS),
        (1 << 40, BINS),
        (64, 24),
    ] {
        let gaussian = DiscreteGaussian::new(sigma).unwrap();
        let table = GaussianTable::with_bins(&gaussian, bins).unwrap();
        let scaled = |k: usize| {
            let ratio = k as f64 * table.width as f64 / sigma as f64;
            table.scale as f64 * (-ratio * ratio / 2.0).exp()
        };
        for (k, bin) in table.bins.iter().enumerate() {
            let weight = bin.weight as f64;
            assert!(weight > scaled(k) * (1.0 + 1e-10) && weight <= scaled(k) * (1.0 + 1e-8) + 1.0);
            assert!((bin.height * weight / scaled(k) - 1.0).abs() < 1e-11);
            let widest = (table.width - 1) as f64;
            assert!(widest * (bin.twice_start + widest) * table.half_precision < 0.75);
        }
        let tail = table.tail_weight as f64;
        assert!(tail > 32.0 * scaled(bins) && tail <= 32.0 * scaled(bins) * (1.0 + 1e-8) + 1.0);
    }
}

proptest! {
    #[test]
    fn the_falloff_is_that_of_the_gaussian(sigma in 64u64..1 << 40, tenths in 0u64..=97) {
        let y = sigma / 10 * tenths;
        let ratio = y as f64 / sigma as f64;
        let expected = (-ratio * ratio / 2.0).exp();
        prop_assert!((falloff(y, sigma) / expected - 1.0).abs() < 2e-12);
    }

    #[test]
    fn alias_tables_deal_any_weights_exactly(parts in prop::collection::vec(any::<u32>(), COLUMNS)) {
        // random weights that sum to TOTAL, some of them zero
        let sum: u128 = parts.iter().map(|&part| u128::from(part) * u128::from(part)).sum();
        prop_assume!(sum > 0);
        let mut weights = [0; COLUMNS];
        for (weight, &part) in weights.iter_mut().zip(&parts) {
            *weight = (u128::from(part) * u128::from(part) * u128::from(TOTAL) / sum) as u64;
        }
        weights[0] += TOTAL - weights.iter().sum::<u64>();
        prop_assert_eq!(dealt(&alias_table(weights)), weights);
    }

    /// Where the floats claim to know, the integers agree with the same bits of U.
    #[test]
    fn what_is_certain_in_floats_is_true_in_integers(
        sigma in 64u64..1 << 40,
        number in 0..BINS,
        share in 0.0f64..1.0,
        nearness in -40.0f64..0.0,
        above: bool,
    ) {
        let table = table(sigma);
        let bin = &table.bins[number];
        let offset = (share * table.width as f64) as u64;
        let magnitude = number as u64 * table.width + offset;
        // words near the decision, at distances from 2^-40 to 1
        let v = offset as f64 * (bin.twice_start + offset as f64) * table.half_precision;
        let p = bin.height * (-v).exp();
        let u = if above { p + nearness.exp2() } else { p - nearness.exp2() };
        let word = (u * 4_294_967_296.0) as u32;
        if let Some(kept) = table.certain(bin, offset, word) {
            prop_assert_eq!(kept, table.coin(bin, magnitude).toss(word, &mut Scripted(vec![])));
        }
    }
}
