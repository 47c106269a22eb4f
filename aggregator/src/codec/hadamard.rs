//! The randomised Hadamard rotation: signs, transform, signs, transform.
//!
//! One round of signs and transform (Ailon and Chazelle 2009) leaves a sparse vector with few
//! distinct values, for which the quantisers behind it are biased; the second round mixes these
//! too, so that the coordinates are close to those of a uniformly random rotation.

/// Values that are rotated together; only the tail of a vector is rotated in a smaller group.
pub(super) const GROUP: usize = 4096;

/// The smallest group: a shorter tail is padded with zeros.
pub(super) const SMALLEST_GROUP: usize = 128;

/// Values in one word of sign bits.
const WORD: usize = 64;

/// Length of the group that `count` values (1 to [`GROUP`]) are padded to, a power of two.
pub(super) const fn group_len(count: usize) -> usize {
    if count <= SMALLEST_GROUP {
        SMALLEST_GROUP
    } else {
        count.next_power_of_two()
    }
}

/// The sign bits of a rotation: SplitMix64 (Steele, Lea and Flood 2014) from a 64-bit seed.
pub(super) struct Signs {
    state: u64,
}

impl Signs {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next_word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// The signs of the next group of `len` values: two rounds of `len` bits.
    pub(super) fn next_group(&mut self, len: usize) -> GroupSigns {
        let mut rounds = [[0u64; GROUP / WORD]; 2];
        for round in &mut rounds {
            for word in &mut round[..len / WORD] {
                *word = self.next_word();
            }
        }
        GroupSigns { rounds }
    }
}

/// The signs of one group.
pub(super) struct GroupSigns {
    rounds: [[u64; GROUP / WORD]; 2],
}

impl GroupSigns {
    /// H D2 H D1 x, without dividing by the length: the norm grows by that factor.
    pub(super) fn rotate(&self, values: &mut [f32]) {
        flip(values, &self.rounds[0]);
        transform(values);
        flip(values, &self.rounds[1]);
        transform(values);
    }

    /// D1 H D2 H x, again without dividing by the length.
    pub(super) fn rotate_back(&self, values: &mut [f32]) {
        transform(values);
        flip(values, &self.rounds[1]);
        transform(values);
        flip(values, &self.rounds[0]);
    }
}

/// Negates the values whose bit is set; bit 0 of the first word belongs to the first value.
fn flip(values: &mut [f32], words: &[u64]) {
    for (values, &word) in values.chunks_mut(WORD).zip(words) {
        for (place, value) in values.iter_mut().enumerate() {
            let sign = ((word >> place) as u32 & 1) << 31;
            *value = f32::from_bits(value.to_bits() ^ sign);
        }
    }
}

/// Values that the first steps of a transform keep in registers.
const REGISTERS: usize = 8;

/// The Walsh-Hadamard transform in natural order, unnormalised and in place. The length is a power
/// of two, at least 8.
fn transform(values: &mut [f32]) {
    for eight in values.as_chunks_mut::<REGISTERS>().0 {
        transform_eight(eight);
    }
    let mut half = REGISTERS;
    while half < values.len() {
        for pair in values.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
}

/// The steps whose pairs are 1, 2 and 4 apart, in the same order as the later ones.
fn transform_eight(values: &mut [f32; REGISTERS]) {
    for half in [1, 2, 4] {
        for place in 0..REGISTERS {
            if place & half == 0 {
                let (a, b) = (values[place], values[place | half]);
                values[place] = a + b;
                values[place | half] = a - b;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transform_is_the_matrix_of_walsh_functions() {
        // entry (i, j) of the matrix is -1 to the number of bits that i and j share
        let values: Vec<f32> = (0..16).map(|i| (i * i % 7) as f32 - 3.0).collect();
        let mut fast = values.clone();
        transform(&mut fast);
        for (i, &fast) in fast.iter().enumerate() {
            let slow: f32 = values
                .iter()
                .enumerate()
                .map(|(j, v)| {
                    if (i & j).count_ones() % 2 == 0 {
                        *v
                    } else {
                        -v
                    }
                })
                .sum();
            assert_eq!(fast, slow);
        }
    }

    #[test]
    fn rotating_back_gives_the_vector_times_the_square_of_the_length() {
        for len in [128, 256, 4096] {
            let values: Vec<f32> = (0..len).map(|i| (i % 11) as f32 - 5.0).collect();
            let mut rotated = values.clone();
            let signs = Signs::new(7).next_group(len);
            signs.rotate(&mut rotated);
            assert!(rotated.iter().zip(&values).any(|(a, b)| a != b));
            signs.rotate_back(&mut rotated);
            let square = (len * len) as f32;
            for (back, value) in rotated.iter().zip(&values) {
                assert!((back / square - value).abs() < 1e-4, "{back} {value}");
            }
        }
    }

    #[test]
    fn signs_follow_the_published_generator() {
        // first outputs of SplitMix64 for seed 1234567, from the reference implementation
        let mut signs = Signs::new(1_234_567);
        assert_eq!(signs.next_word(), 6_457_827_717_110_365_317);
        assert_eq!(signs.next_word(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn groups_are_powers_of_two_that_hold_their_values() {
        for (count, len) in [(1, 128), (128, 128), (129, 256), (2049, 4096), (4096, 4096)] {
            assert_eq!(group_len(count), len);
        }
    }
}
