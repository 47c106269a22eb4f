//! Random streams: derived from a simulation's seed, or from the operating system.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use sha2::{Digest as _, Sha256};

use crate::state::identity::IdentityError;

/// What a seeded stream is for; two purposes never share numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purposes {
    /// Shuffling of local training.
    Training,
    /// Rounding and rotation of stochastic codecs.
    Encoding,
    /// Key of the noise that a device adds itself; its number is the round times 2^32 and the attempt.
    LocalNoise,
    /// Choice of the example that votes.
    Summary,
    /// Drop-out of a simulated device.
    DropOut,
    /// Waits and jitter of a simulated device.
    Jitter,
    /// Token of a simulated device.
    Token,
}

impl Purposes {
    const fn tag(self) -> &'static [u8] {
        match self {
            Self::Training => b"training",
            Self::Encoding => b"encoding",
            Self::LocalNoise => b"local-noise",
            Self::Summary => b"summary",
            Self::DropOut => b"drop-out",
            Self::Jitter => b"jitter",
            Self::Token => b"token",
        }
    }
}

/// ChaCha20 keyed by SHA-256 over the length-prefixed fields seed, scope (the run or monitor),
/// number (the round or window, little endian), device and purpose.
pub fn seeded(
    seed: &[u8],
    scope: &str,
    number: u64,
    device: &str,
    purpose: Purposes,
) -> ChaCha20Rng {
    let mut hasher = Sha256::new();
    let fields: [&[u8]; 5] = [
        seed,
        scope.as_bytes(),
        &number.to_le_bytes(),
        device.as_bytes(),
        purpose.tag(),
    ];
    for field in fields {
        hasher.update((field.len() as u64).to_le_bytes());
        hasher.update(field);
    }
    ChaCha20Rng::from_seed(hasher.finalize().into())
}

/// ChaCha20 keyed by the operating system.
pub(crate) fn from_os() -> Result<ChaCha20Rng, IdentityError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|_| IdentityError::NoRandomness)?;
    Ok(ChaCha20Rng::from_seed(seed))
}

/// The seeded stream when a simulation gave a seed, one from the operating system otherwise.
pub(crate) fn seeded_or_os(
    seed: &[u8],
    scope: &str,
    number: u64,
    device: &str,
    purpose: Purposes,
) -> Result<ChaCha20Rng, IdentityError> {
    if seed.is_empty() {
        from_os()
    } else {
        Ok(seeded(seed, scope, number, device, purpose))
    }
}

/// Uniform in [0, bound) without bias: Lemire, "Fast Random Integer Generation in an Interval"
/// (2019), algorithm 5. A bound of 0 gives 0.
pub(crate) fn uniform_below(rng: &mut impl Rng, bound: u64) -> u64 {
    if bound == 0 {
        return 0;
    }
    let threshold = bound.wrapping_neg() % bound;
    loop {
        let product = u128::from(rng.next_u64()) * u128::from(bound);
        if product as u64 >= threshold {
            return (product >> 64) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seeded_stream_depends_on_every_field() {
        let first = |seed: &[u8], scope, number, device, purpose| {
            seeded(seed, scope, number, device, purpose).next_u64()
        };
        let base = first(b"s", "run", 1, "d", Purposes::Training);
        assert_eq!(base, first(b"s", "run", 1, "d", Purposes::Training));
        for other in [
            first(b"t", "run", 1, "d", Purposes::Training),
            first(b"s", "ru", 1, "nd", Purposes::Training),
            first(b"s", "run", 2, "d", Purposes::Training),
            first(b"s", "run", 1, "e", Purposes::Training),
            first(b"s", "run", 1, "d", Purposes::Summary),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn uniform_numbers_stay_below_their_bound_and_reach_every_value() {
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        let mut seen = [false; 7];
        for _ in 0..500 {
            seen[uniform_below(&mut rng, 7) as usize] = true;
        }
        assert_eq!(seen, [true; 7]); // a value is missed with probability 7 x (6/7)^500 < 1e-32
        assert_eq!(uniform_below(&mut rng, 0), 0);
    }
}
