//! Synthetic inputs with their exact outputs, carried inside a build.
//!
//! A device runs them before it switches to a new model: integer arithmetic leaves no tolerance, so
//! one wrong weight, a wrong kernel or bad memory shows as a difference. A vector stores a seed
//! instead of its input. Input value `i` is the highest byte, as `i8`, of the state of Marsaglia's
//! xorshift32 (shifts 13, 17, 5; Marsaglia 2003, "Xorshift RNGs") after `i + 1` steps from the
//! seed. The trace is the CRC-32 (IEEE 802.3) of the outputs of all steps in order, which also
//! shows faults that the final scores round away.

use super::interpreter::{Int8Model, Int8Scratch};
use super::vectors::SelfTest;
use crate::bundle::{BundleError, Reader};

/// Vectors put into every new build.
const VECTORS: u32 = 8;
/// Spreads small numbers over the seeds: 2^32 divided by the golden ratio, made odd.
const SEED_STRIDE: u32 = 0x9e37_79b9;

impl Int8Model {
    /// Runs the self-test vectors and compares every output bit.
    ///
    /// Takes the arena's memory, so check that the model fits before.
    ///
    /// # Errors
    /// [`BundleError::SelfTest`] with the first vector that differs.
    pub fn verify_self_test(&self, scratch: &mut Int8Scratch) -> Result<(), BundleError> {
        for (vector, expected) in self.self_tests().iter().enumerate() {
            if record(self, expected.seed, scratch.arena_mut()) != *expected {
                return Err(BundleError::SelfTest { vector });
            }
        }
        Ok(())
    }

    /// Records new vectors for this model.
    pub(crate) fn record_self_tests(&mut self) {
        let mut scratch = Vec::new();
        let seeds = (1..=VECTORS).map(|number| number.wrapping_mul(SEED_STRIDE));
        let vectors = seeds.map(|seed| record(self, seed, &mut scratch)).collect();
        self.set_self_tests(vectors);
    }

    /// Reads the vectors of a build.
    pub(crate) fn read_self_tests(
        &mut self,
        count: u8,
        reader: &mut Reader<'_>,
    ) -> Result<(), BundleError> {
        let mut vectors = Vec::new();
        for _ in 0..count {
            let (seed, trace) = (reader.u32()?, reader.u32()?);
            let scores = reader.i8s(self.classes())?;
            if seed == 0 {
                return Err(BundleError::Field {
                    what: "self-test seed",
                });
            }
            vectors.push(SelfTest {
                seed,
                trace,
                scores,
            });
        }
        self.set_self_tests(vectors);
        Ok(())
    }
}

/// Records what `model` computes from the input of `seed`.
fn record(model: &Int8Model, seed: u32, scratch: &mut Vec<i8>) -> SelfTest {
    let mut trace = crc32fast::Hasher::new();
    let mut bytes = Vec::new();
    let input = synthetic_input(seed, model.features());
    let scores = model.run(&input, scratch, |output| {
        bytes.clear();
        bytes.extend(output.iter().flat_map(|value| value.to_le_bytes()));
        trace.update(&bytes);
    });
    SelfTest {
        seed,
        trace: trace.finalize(),
        scores: scratch[scores].to_vec(),
    }
}

/// The input of a vector: `length` values from all of -128..=127.
fn synthetic_input(seed: u32, length: usize) -> Vec<i8> {
    let mut state = seed;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8 as i8
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synthetic_input_follows_the_published_generator() {
        // Marsaglia's example seed 2463534242 gives 723471715, 2497366906, 2064144800 first.
        let expected = [723_471_715_u32, 2_497_366_906, 2_064_144_800].map(|x| (x >> 24) as i8);
        assert_eq!(synthetic_input(2_463_534_242, 3), expected);
    }
}
