//! Where the random bits of a release come from.

use std::fmt;
use std::hint::black_box;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use zeroize::Zeroizing;

use super::NoiseError;

/// The ChaCha20 key of one release.
///
/// Make a new one from the operating system for every release and drop it afterwards; it is erased
/// then. It can't be cloned, printed or stored. Every chunk of noise takes the next ChaCha stream
/// under the key, so no two chunks share bits and chunks don't depend on each other.
pub struct NoiseSource {
    key: Zeroizing<[u8; 32]>,
    next_stream: u64,
    private: bool,
}

impl NoiseSource {
    /// Values that share one stream in [`crate::DiscreteGaussian::add_noise`] and its like.
    pub const CHUNK: usize = 65_536;

    /// A source keyed by 32 bytes from the operating system.
    ///
    /// # Errors
    /// [`NoiseError::NoEntropy`] when it gives none.
    pub fn from_os() -> Result<Self, NoiseError> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut_slice())
            .map_err(|error| NoiseError::NoEntropy(error.to_string()))?;
        Ok(Self {
            key,
            next_stream: 0,
            private: true,
        })
    }

    /// A repeatable source for simulations and tests. NOT PRIVATE: whoever knows the seed can
    /// subtract the noise, so a run that uses it must be marked as such.
    pub fn seeded(seed: [u8; 32]) -> Self {
        Self {
            key: Zeroizing::new(seed),
            next_stream: 0,
            private: false,
        }
    }

    /// True when the key came from the operating system.
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// Runs `draw` on a generator over the next unused stream and erases it afterwards.
    pub fn with_stream<T>(&mut self, draw: impl FnOnce(&mut ChaCha20Rng) -> T) -> T {
        self.reserve(1).with(0, draw)
    }

    /// Sets the next `count` unused streams aside.
    pub(super) fn reserve(&mut self, count: u64) -> Streams<'_> {
        let first = self.next_stream;
        // 2^64 streams are never used up: each is worth 256 GiB of words
        self.next_stream += count;
        Streams {
            key: &self.key,
            first,
        }
    }
}

/// Streams that were set aside. Threads share it, and none of them can use a stream of another call.
pub(super) struct Streams<'s> {
    key: &'s [u8; 32],
    first: u64,
}

impl Streams<'_> {
    /// Runs `draw` on a generator over stream number `index` of these and erases it afterwards, on
    /// the thread that ran it, also when `draw` unwinds.
    pub(super) fn with<T>(&self, index: u64, draw: impl FnOnce(&mut ChaCha20Rng) -> T) -> T {
        let mut stream = ErasedOnDrop(ChaCha20Rng::from_seed(*self.key));
        stream.0.set_stream(self.first + index);
        draw(&mut stream.0)
    }
}

impl fmt::Debug for NoiseSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "NoiseSource(private: {})", self.private)
    }
}

/// The generator keeps the key and unused words in its state; this overwrites both.
struct ErasedOnDrop(ChaCha20Rng);

impl Drop for ErasedOnDrop {
    fn drop(&mut self) {
        self.0 = ChaCha20Rng::from_seed([0; 32]);
        // the compiler must assume that the overwritten state is read
        black_box(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use rand_core::Rng;

    use super::*;

    #[test]
    fn equal_seeds_give_equal_streams_and_streams_differ() {
        let mut first = NoiseSource::seeded([1; 32]);
        let mut second = NoiseSource::seeded([1; 32]);
        let words = |source: &mut NoiseSource| source.with_stream(|rng| rng.next_u64());
        let one = words(&mut first);
        assert_eq!(one, words(&mut second));
        assert_ne!(one, words(&mut first));
    }

    #[test]
    fn reserved_streams_are_those_that_would_have_come_next() {
        let mut one_by_one = NoiseSource::seeded([2; 32]);
        let mut reserved = NoiseSource::seeded([2; 32]);
        let expected: Vec<u64> = (0..4)
            .map(|_| one_by_one.with_stream(|rng| rng.next_u64()))
            .collect();
        let streams = reserved.reserve(3);
        for index in [2, 0, 1] {
            let word = streams.with(index, |rng| rng.next_u64());
            assert_eq!(word, expected[index as usize]);
        }
        assert_eq!(reserved.with_stream(|rng| rng.next_u64()), expected[3]);
    }

    #[test]
    fn only_a_source_from_the_operating_system_is_private() {
        let mut first = NoiseSource::from_os().unwrap();
        let mut second = NoiseSource::from_os().unwrap();
        assert!(first.is_private() && !NoiseSource::seeded([0; 32]).is_private());
        assert_ne!(*first.key, [0; 32]);
        // equal keys have probability 2^-256
        let word = |source: &mut NoiseSource| source.with_stream(|rng| rng.next_u64());
        assert_ne!(
            (*first.key, word(&mut first)),
            (*second.key, word(&mut second))
        );
    }

    #[test]
    fn debug_output_shows_no_key() {
        let text = format!("{:?}", NoiseSource::seeded([171; 32]));
        assert_eq!(text, "NoiseSource(private: false)");
    }
}
