//! Noise on long vectors: one ChaCha stream per chunk, on one thread or on many.

use rand_chacha::ChaCha20Rng;
use rayon::prelude::*;

use super::NoiseSource;

/// A distribution on the integers whose samples are independent of each other.
pub(super) trait Sampler: Sync {
    /// One sample.
    fn draw(&self, rng: &mut ChaCha20Rng) -> i64;
}

/// Adds a sample to every value on the threads of rayon's current pool, each chunk with the stream of
/// its number.
pub(super) fn add_in_parallel(
    sampler: &impl Sampler,
    values: &mut [i64],
    source: &mut NoiseSource,
) {
    // one chunk is not worth waking another thread for
    if values.len() <= NoiseSource::CHUNK {
        return add_in_sequence(sampler, values, source);
    }
    let streams = source.reserve(chunks_in(values));
    values
        .par_chunks_mut(NoiseSource::CHUNK)
        .enumerate()
        .for_each(|(number, chunk)| {
            streams.with(number as u64, |rng| add(sampler, chunk, rng));
        });
}

/// [`add_in_parallel`] on the calling thread, with the same outcome.
pub(super) fn add_in_sequence(
    sampler: &impl Sampler,
    values: &mut [i64],
    source: &mut NoiseSource,
) {
    let streams = source.reserve(chunks_in(values));
    for (number, chunk) in values.chunks_mut(NoiseSource::CHUNK).enumerate() {
        streams.with(number as u64, |rng| add(sampler, chunk, rng));
    }
}

fn chunks_in(values: &[i64]) -> u64 {
    values.len().div_ceil(NoiseSource::CHUNK) as u64
}

fn add(sampler: &impl Sampler, chunk: &mut [i64], rng: &mut ChaCha20Rng) {
    for value in chunk {
        *value = value.saturating_add(sampler.draw(rng));
    }
}
