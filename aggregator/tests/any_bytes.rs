//! Mutated encodings at every decoder, with the checks of the fuzz targets.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test by panicking"
)]

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use tributary_aggregator::{Codec, FixedPoint, Partial};

#[path = "../fuzz/entries.rs"]
mod entries;

/// Mutations of each codec.
const ROUNDS: usize = 20_000;

/// Repeatable choices.
struct Choices(ChaCha20Rng);

impl Choices {
    fn new(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0.next_u32() as usize % limit.max(1)
    }

    /// One to four mutations: flipped bits, overwritten, cut, inserted, repeated and moved bytes.
    fn mutate(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.below(4) {
            let place = self.below(bytes.len());
            match self.below(8) {
                0..=2 if !bytes.is_empty() => bytes[place] ^= 1 << self.below(8),
                3 if !bytes.is_empty() => bytes[place] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                // a whole 32-bit field: counts, scales and lengths
                4 if bytes.len() >= 4 => {
                    let word = [0, 1, 0x7f80_0000, 0x7fc0_0000, 0xff7f_ffff, u32::MAX];
                    let place = [0, place.min(bytes.len() - 4)][self.below(2)];
                    let word = word[self.below(6)].to_le_bytes();
                    bytes[place..place + 4].copy_from_slice(&word);
                }
                5 => bytes.truncate(place),
                6 => {
                    // the head of one and the tail of another
                    let tail = other.get(place..).unwrap_or(&[]);
                    bytes.truncate(place);
                    bytes.extend_from_slice(tail);
                }
                _ => {
                    let byte = self.0.next_u32() as u8;
                    bytes.insert(place, byte);
                }
            }
        }
    }
}

fn vector(dimension: usize, choices: &mut Choices) -> Vec<f32> {
    (0..dimension)
        .map(|_| choices.0.next_u32() as f32 / u32::MAX as f32 - 0.5)
        .collect()
}

/// Runs the rounds of every codec of a family.
fn attack(family: &[&str]) {
    for (number, name) in family.iter().enumerate() {
        let codec: Codec = name.parse().unwrap();
        let mut choices = Choices::new(number as u64);
        let mut accepted = 0;
        // small vectors and those on both sides of a block
        for dimension in [1, 3, 130, 1024, 1025] {
            let rounds = if dimension < 1000 {
                ROUNDS / 4
            } else {
                ROUNDS / 8
            };
            let mut encode = || {
                let values = vector(dimension, &mut choices);
                codec.encode_clipped(&values, 0.9, &mut choices.0).unwrap()
            };
            let valid = [encode(), encode()];
            assert!(entries::decode(name, dimension, &valid[0]), "{name}");
            for _ in 0..rounds {
                let mut bytes = valid[0].clone();
                choices.mutate(&mut bytes, &valid[1]);
                accepted += usize::from(entries::decode(name, dimension, &bytes));
            }
        }
        // else the mutations are so wild that only the length check is tried
        assert!(
            (100..ROUNDS * 9 / 10).contains(&accepted),
            "{name} {accepted}"
        );
    }
}

#[test]
fn mutated_floats_are_bounded_or_refused() {
    attack(&entries::FLOATS);
}

#[test]
fn mutated_levels_are_bounded_or_refused() {
    attack(&entries::LEVELS);
}

#[test]
fn mutated_sparse_updates_are_bounded_or_refused() {
    attack(&entries::SPARSE);
}

#[test]
fn mutated_rotated_updates_are_bounded_or_refused() {
    attack(&entries::ROTATED);
}

#[test]
fn mutated_compressed_updates_are_bounded_or_refused() {
    attack(&entries::COMPRESSED);
}

#[test]
fn mutated_names_are_codecs_or_refused() {
    let mut choices = Choices::new(40);
    let families = [&entries::FLOATS[..], &entries::SPARSE, &entries::COMPRESSED];
    let names: Vec<&str> = families.concat();
    let mut accepted = 0;
    for round in 0..ROUNDS {
        let mut bytes = names[round % names.len()].as_bytes().to_vec();
        let other = names[choices.below(names.len())].as_bytes();
        choices.mutate(&mut bytes, other);
        accepted += usize::from(entries::name(&bytes));
    }
    assert!((100..ROUNDS / 2).contains(&accepted), "{accepted}");
}

#[test]
fn mutated_partials_are_consistent_or_refused() {
    let mut choices = Choices::new(41);
    let grid = FixedPoint::new(1.0, 100).unwrap();
    let stored: Vec<Vec<u8>> = (0..2)
        .map(|_| {
            let mut partial = Partial::new(100);
            for _ in 0..3 {
                let values = vector(100, &mut choices);
                let bytes = Codec::F32
                    .encode_clipped(&values, 1.0, &mut choices.0)
                    .unwrap();
                partial.add_encoded(&grid, Codec::F32, &bytes).unwrap();
            }
            partial.to_bytes()
        })
        .collect();
    let mut accepted = 0;
    for _ in 0..ROUNDS {
        let mut bytes = stored[0].clone();
        choices.mutate(&mut bytes, &stored[1]);
        accepted += usize::from(entries::partial(&bytes));
    }
    assert!((100..ROUNDS).contains(&accepted), "{accepted}");
}

#[test]
fn the_targets_read_their_codec_and_dimension_from_the_first_bytes() {
    // choice 0 of the floats is f32; 1 in little endian is a dimension of 2
    let message = [
        &[0, 1, 0][..],
        &0.5f32.to_le_bytes(),
        &0.25f32.to_le_bytes(),
    ]
    .concat();
    assert!(entries::decode_any(&entries::FLOATS, &message));
    assert!(!entries::decode_any(&entries::FLOATS, &message[..2]));
    assert!(!entries::decode_any(&entries::LEVELS, &message));
}
