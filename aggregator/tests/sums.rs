//! Exact sums against a slow model in `i128`, however the updates come.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test by panicking"
)]

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tributary_aggregator::{
    Codec, EncodedContribution, Faults, FixedPoint, MAX_WEIGHT, Partial, PartialError, UpdateError,
    WEIGHT_ONE,
};
use tributary_privacy::{SCALE, clip_l2};

/// One update as a test sends it.
#[derive(Debug, Clone)]
struct Sent {
    bytes: Vec<u8>,
    weight: u64,
    work: u64,
    share: f32,
}

impl Sent {
    fn lend(&self) -> EncodedContribution<'_> {
        EncodedContribution {
            bytes: &self.bytes,
            weight: self.weight,
            work: self.work,
            share: self.share,
        }
    }
}

/// Sums, count, weight and work in numbers that can't overflow.
#[derive(Debug, Clone, PartialEq)]
struct Model {
    sums: Vec<i128>,
    totals: [u128; 3],
}

impl Model {
    fn new(dimension: usize) -> Self {
        Self {
            sums: vec![0; dimension],
            totals: [0; 3],
        }
    }

    /// Adds an `f32` update; false when it is not valid.
    fn add(&mut self, clip: f32, sent: &Sent) -> bool {
        let dimension = self.sums.len();
        let weights = 1..=MAX_WEIGHT;
        if sent.bytes.len() != 4 * dimension
            || !weights.contains(&sent.weight)
            || sent.work > MAX_WEIGHT
            || !(sent.share > 0.0 && sent.share <= 1.0)
        {
            return false;
        }
        let share = f64::from(sent.share);
        let factor = (share * SCALE as f64 / f64::from(clip)) as f32;
        let half_root = (0..).find(|r: &usize| 4 * r * r >= dimension).unwrap();
        let bound = (share * SCALE as f64).ceil() as i128 + half_root as i128;
        let values = sent.bytes.chunks(4).map(|raw| {
            let value = f32::from_le_bytes(raw.try_into().unwrap()) * factor;
            value.is_finite().then(|| value.round_ties_even() as i128)
        });
        let Some(integers) = values.collect::<Option<Vec<i128>>>() else {
            return false;
        };
        let squares = integers.iter().try_fold(0i128, |sum, &q| {
            q.checked_mul(q).and_then(|square| sum.checked_add(square))
        });
        if squares.is_none_or(|squares| squares > bound * bound) {
            return false;
        }
        for (sum, integer) in self.sums.iter_mut().zip(integers) {
            *sum += integer;
        }
        let more = [1, sent.weight, sent.work].map(u128::from);
        for (total, more) in self.totals.iter_mut().zip(more) {
            *total += more;
        }
        true
    }

    fn assert_is(&self, partial: &Partial) {
        assert!(partial.sums().map(i128::from).eq(self.sums.iter().copied()));
        let totals = [partial.count(), partial.weight(), partial.work()];
        assert_eq!(totals.map(u128::from), self.totals);
    }
}

/// Updates of which some are broken in one of many ways.
fn updates(dimension: usize) -> impl Strategy<Value = Vec<Sent>> {
    let one = (
        prop::collection::vec(-1.0f32..1.0, dimension),
        0usize..14,
        prop_oneof![Just(WEIGHT_ONE), 1u64..1 << 30],
        prop_oneof![Just(0u64), 0u64..1 << 30],
        prop_oneof![Just(1.0f32), 0.1f32..1.0],
        0..dimension,
    );
    let one = one.prop_map(|(mut values, fault, weight, work, share, at)| {
        clip_l2(&mut values, 0.7).unwrap();
        match fault {
            0 => values[at] = f32::NAN,
            1 => values[at] = f32::INFINITY,
            2 => values[at] = -f32::MAX,
            3 => values.iter_mut().for_each(|value| *value *= 1.6),
            4 => values.fill(-0.0),
            5 => values[at] = f32::from_bits(0xffbf_fff1),
            6 => values.truncate(at),
            7 => values
                .iter_mut()
                .for_each(|value| *value = value.signum() * 0.7),
            _ => {}
        }
        let (weight, work, share) = match fault {
            8 => (0, work, share),
            9 => (weight, MAX_WEIGHT + 1, share),
            10 => (weight, work, f32::NAN),
            _ => (weight, work, share),
        };
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Sent {
            bytes,
            weight,
            work,
            share,
        }
    });
    prop::collection::vec(one, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn sums_are_those_of_the_model_together_one_by_one_and_in_shards(
        (dimension, sent) in prop_oneof![1usize..40, 1000usize..3100]
            .prop_flat_map(|dimension| (Just(dimension), updates(dimension))),
        shards in 1usize..6,
    ) {
        let clip = 0.7;
        let grid = FixedPoint::new(clip, dimension).unwrap();
        let mut model = Model::new(dimension);
        let valid: Vec<bool> = sent.iter().map(|sent| model.add(clip, sent)).collect();
        let lent: Vec<_> = sent.iter().map(Sent::lend).collect();

        let mut together = Partial::new(dimension);
        let outcomes = together.add_many(&grid, Codec::F32, &lent);
        prop_assert!(outcomes.iter().map(Result::is_ok).eq(valid.iter().copied()));
        model.assert_is(&together);

        let mut single = Partial::new(dimension);
        for (update, outcome) in lent.iter().zip(&outcomes).rev() {
            let alone = single.add_many(&grid, Codec::F32, std::slice::from_ref(update));
            // the texts also compare refusals that carry a NaN
            prop_assert_eq!(format!("{:?}", alone[0]), format!("{outcome:?}"));
        }
        prop_assert_eq!(&single, &together);

        let mut sharded = Partial::new(dimension);
        let outcomes_in_shards = sharded.add_in_shards(&grid, Codec::F32, &lent, shards, Faults::Refused);
        prop_assert_eq!(format!("{outcomes_in_shards:?}"), format!("{outcomes:?}"));
        prop_assert_eq!(sharded.to_bytes(), together.to_bytes());
    }

    #[test]
    fn hierarchical_sums_equal_flat_ones_across_the_spill(
        doublings in 8u32..13,
        sizes in prop::collection::vec(1usize..9, 4),
        through_bytes in prop::collection::vec(any::<bool>(), 4),
        seed in any::<u64>(),
    ) {
        // values at the bound, so that lanes fill as fast as they can
        let dimension = 5;
        let grid = FixedPoint::new(1.0, dimension).unwrap();
        let mut model = Model::new(dimension);
        let mut total = Partial::new(dimension);
        let mut flat = Partial::new(dimension);
        for (part, (&size, &stored)) in sizes.iter().zip(&through_bytes).enumerate() {
            let mut region = Partial::new(dimension);
            for index in 0..size {
                let place = (seed as usize).wrapping_add(part + index) % dimension;
                let mut values = [0.0f32; 5];
                values[place] = if (seed >> part) & 1 == 0 { 1.0 } else { -1.0 };
                let sent = Sent {
                    bytes: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
                    weight: WEIGHT_ONE + index as u64,
                    work: part as u64,
                    share: 1.0,
                };
                prop_assert!(model.add(1.0, &sent));
                for partial in [&mut region, &mut flat] {
                    let outcomes = partial.add_many(&grid, Codec::F32, &[sent.lend()]);
                    prop_assert_eq!(outcomes, vec![Ok(())]);
                }
            }
            if stored {
                total.merge_bytes(&region.to_bytes()).unwrap();
            } else {
                total.merge(&region).unwrap();
            }
        }
        prop_assert_eq!(&total, &flat);
        for step in 0..doublings {
            // doubling passes 1023 contributions, once by parts and once through bytes
            let copy = total.clone();
            if (seed >> step) & 1 == 0 {
                total.merge(&copy).unwrap();
            } else {
                total.merge_bytes(&copy.to_bytes()).unwrap();
            }
            model.sums.iter_mut().for_each(|sum| *sum *= 2);
            model.totals.iter_mut().for_each(|sum| *sum *= 2);
        }
        model.assert_is(&total);
        let back = Partial::from_bytes(&total.to_bytes()).unwrap();
        prop_assert_eq!(&back, &total);
        prop_assert_eq!(back.to_bytes(), total.to_bytes());
    }

    #[test]
    fn invariant_11_faulty_bytes_of_the_right_length_are_summed_as_zeros_and_count(
        values in prop::collection::vec(-1.0f32..1.0, 1..2100),
        position in any::<prop::sample::Index>(),
        replaced in any::<[u8; 4]>(),
        shards in 1usize..4,
    ) {
        let dimension = values.len();
        let grid = FixedPoint::new(0.5, dimension).unwrap();
        for codec in Codec::ALL {
            let mut noise = ChaCha20Rng::seed_from_u64(3);
            let valid = codec.encode_clipped(&values, 0.5, &mut noise).unwrap();
            let zeros = codec.encode(&vec![0.0; dimension], &mut noise);
            let mut broken = valid.clone();
            let at = position.index(broken.len());
            for (byte, replaced) in broken[at..].iter_mut().zip(replaced) {
                *byte = replaced;
            }
            let nan = codec.encode(&vec![f32::NAN; dimension], &mut noise);
            let huge = codec.encode(&vec![60_000.0; dimension], &mut noise);
            let all = [&valid, &broken, &nan, &zeros, &huge, &valid];
            let group: Vec<_> = all.map(|bytes| EncodedContribution::new(bytes)).into();
            let mut silent = Partial::new(dimension);
            let outcomes =
                silent.add_in_shards(&grid, codec, &group, shards, Faults::SummedAsZeros);
            prop_assert!(outcomes.iter().all(Result::is_ok), "{codec}");
            prop_assert_eq!((silent.count(), silent.weight()), (6, 6 * WEIGHT_ONE));
            let mut named = Partial::new(dimension);
            let refused = named.add_in_shards(&grid, codec, &group, shards, Faults::Refused);
            prop_assert!(refused[2].is_err() && refused[4].is_err() && refused[3].is_ok());
            prop_assert!(silent.sums().eq(named.sums()), "{codec}");
        }
    }

    #[test]
    fn every_codec_adds_what_its_contribution_says_and_leaves_no_trace_when_refused(
        values in prop::collection::vec(-1.0f32..1.0, 1..2100),
        position in any::<prop::sample::Index>(),
        replaced in any::<[u8; 4]>(),
        share in prop_oneof![Just(1.0f32), 0.2f32..1.0],
    ) {
        let dimension = values.len();
        let grid = FixedPoint::new(0.5, dimension).unwrap();
        for codec in Codec::ALL {
            let mut noise = ChaCha20Rng::seed_from_u64(3);
            let valid = codec.encode_clipped(&values, 0.5, &mut noise).unwrap();
            let mut broken = valid.clone();
            let at = position.index(broken.len());
            for (byte, replaced) in broken[at..].iter_mut().zip(replaced) {
                *byte = replaced;
            }
            let lend = |bytes| EncodedContribution { share, ..EncodedContribution::new(bytes) };
            let group = [lend(&valid), lend(&broken), lend(&valid)];
            let mut partial = Partial::new(dimension);
            let outcomes = partial.add_many(&grid, codec, &group);
            let mut expected = Partial::new(dimension);
            for (update, outcome) in group.iter().zip(outcomes) {
                let late = grid.scaled(share).unwrap();
                match late.contribution(codec, update.bytes) {
                    Ok(contribution) => {
                        prop_assert_eq!(outcome, Ok(()));
                        expected.add(&contribution).unwrap();
                    }
                    Err(refusal) => prop_assert_eq!(outcome, Err(PartialError::Update(refusal))),
                }
            }
            prop_assert_eq!(&partial, &expected, "{}", codec);
        }
    }

    #[test]
    fn a_damaged_stored_partial_is_refused_and_changes_nothing(
        position in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        let grid = FixedPoint::new(1.0, 4).unwrap();
        let bytes: Vec<u8> = [0.5f32, -0.5, 0.5, 0.1].iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut partial = Partial::new(4);
        partial.add_encoded(&grid, Codec::F32, &bytes).unwrap();
        let mut stored = partial.to_bytes();
        let at = position.index(stored.len());
        stored[at] = byte;
        if let Some(cut) = cut {
            stored.truncate(cut.index(stored.len()));
        }
        let before = partial.clone();
        match (partial.merge_bytes(&stored), Partial::from_bytes(&stored)) {
            (Ok(()), Ok(other)) => {
                let mut expected = before;
                expected.merge(&other).unwrap();
                prop_assert_eq!(partial, expected);
            }
            (Err(_), _) => prop_assert_eq!(partial, before),
            (Ok(()), Err(refusal)) => prop_assert!(false, "{refusal}"),
        }
    }
}

#[test]
fn the_stored_form_comes_in_pieces_of_at_most_a_mebibyte() {
    let dimension = 700_000;
    let grid = FixedPoint::new(1.0, dimension).unwrap();
    let bytes: Vec<u8> = (0..dimension)
        .flat_map(|index| (((index % 7) as f32 - 3.0) * 2e-4).to_le_bytes())
        .collect();
    let mut partial = Partial::new(dimension);
    partial.add_encoded(&grid, Codec::F32, &bytes).unwrap();
    let mut whole = Vec::new();
    let written: Result<(), ()> = partial.write_to(|piece| {
        assert!(!piece.is_empty() && piece.len() <= 1 << 20);
        whole.extend_from_slice(piece);
        Ok(())
    });
    assert_eq!(written, Ok(()));
    assert_eq!(whole.len(), partial.stored_len());
    assert_eq!(whole, partial.to_bytes());
    assert_eq!(Partial::from_bytes(&whole), Ok(partial.clone()));
    let mut pieces = 0;
    let stopped = partial.write_to(|_| {
        pieces += 1;
        if pieces == 2 {
            Err("disk full")
        } else {
            Ok(())
        }
    });
    assert_eq!((stopped, pieces), (Err("disk full"), 2));
}

#[test]
fn more_than_1023_contributions_at_the_bound_do_not_overflow() {
    let grid = FixedPoint::new(1.0, 1).unwrap();
    let bytes = (-1.0f32).to_le_bytes();
    let updates = [EncodedContribution::new(&bytes); 33];
    let mut partial = Partial::new(1);
    for _ in 0..130 {
        let outcomes = partial.add_many(&grid, Codec::F32, &updates);
        assert!(outcomes.iter().all(Result::is_ok));
    }
    let count = 33 * 130;
    assert_eq!(partial.count(), count);
    assert!(partial.sums().eq([-(count as i64) << 20]));
}

#[test]
fn weight_and_work_are_refused_before_they_wrap() {
    let grid = FixedPoint::new(1.0, 1).unwrap();
    let bytes = 0.5f32.to_le_bytes();
    let heavy = EncodedContribution {
        weight: MAX_WEIGHT,
        work: MAX_WEIGHT,
        ..EncodedContribution::new(&bytes)
    };
    let mut partial = Partial::new(1);
    assert_eq!(partial.add_many(&grid, Codec::F32, &[heavy]), [Ok(())]);
    for _ in 0..23 {
        let copy = partial.clone();
        partial.merge(&copy).unwrap();
    }
    assert_eq!(partial.weight(), 1 << 63);
    let copy = partial.clone();
    let weight = Err(PartialError::TooMuch { field: "weight" });
    assert_eq!(partial.merge(&copy), weight);
    assert_eq!(partial.merge_bytes(&copy.to_bytes()), weight);
    assert_eq!(partial, copy);
}

#[test]
fn a_length_that_can_not_be_right_is_refused_by_every_codec() {
    let grid = FixedPoint::new(1.0, 5000).unwrap();
    let mut partial = Partial::new(5000);
    for codec in Codec::ALL {
        for bytes in [Vec::new(), vec![0; 20_100]] {
            let refused = partial.add_encoded(&grid, codec, &bytes);
            assert!(
                matches!(
                    refused,
                    Err(PartialError::Update(UpdateError::WrongLength { .. }))
                ),
                "{codec}"
            );
        }
    }
    assert_eq!(partial, Partial::new(5000));
}
