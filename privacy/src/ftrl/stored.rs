//! The bytes of a noise state.
//!
//! Little endian: magic with the version, digest of the strategy, dimension, sigma as numerator and
//! denominator, emitted and planned rounds, the vectors' values, and a check word over all of it.

use super::dimension::check_dimension;
use super::{CorrelatedNoise, FtrlError, MAX_ROUNDS, Strategy, tree};

const MAGIC: [u8; 8] = *b"TRBFTRL1";
/// Magic, strategy, dimension, sigma (2), rounds.
const HEADER: usize = 6 * 8;
/// Bytes beside the vectors.
const OVERHEAD: usize = HEADER + 8;

impl Strategy {
    /// Most bytes that [`CorrelatedNoise::to_bytes`] takes within `rounds` rounds.
    pub fn state_bytes(&self, rounds: u32, dimension: usize) -> usize {
        let vectors = match self {
            Self::Blt(blt) => blt.buffers(),
            Self::Tree => tree::most_open_nodes(rounds) as usize,
        };
        OVERHEAD + dimension.saturating_mul(vectors).saturating_mul(8)
    }
}

impl CorrelatedNoise {
    /// The state as bytes, 8 per value of every vector and 56 more. They are secret.
    pub fn to_bytes(&self) -> Vec<u8> {
        let values = self.vectors.len() * self.dimension;
        let mut bytes = Vec::with_capacity(OVERHEAD + 8 * values);
        bytes.extend_from_slice(&MAGIC);
        let rounds = u64::from(self.planned) << 32 | u64::from(self.round);
        let header = [
            strategy_digest(&self.strategy),
            self.dimension as u64,
            self.sigma.0,
            self.sigma.1,
            rounds,
        ];
        bytes.extend(header.into_iter().flat_map(u64::to_le_bytes));
        for vector in &self.vectors {
            bytes.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
        }
        let check = check_word(&bytes);
        bytes.extend_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Restores what [`CorrelatedNoise::to_bytes`] wrote for the same strategy and dimension.
    ///
    /// # Errors
    /// [`FtrlError::BadDimension`], or [`FtrlError::Malformed`] for bytes of another kind, version,
    /// strategy, dimension or length, and for damaged ones: any damage within one 8-byte word is
    /// found, any other but for a chance of 2^-64. Any byte string is safe.
    pub fn from_bytes(
        strategy: Strategy,
        dimension: usize,
        bytes: &[u8],
    ) -> Result<Self, FtrlError> {
        let malformed = |reason| FtrlError::Malformed { reason };
        check_dimension(dimension)?;
        let (body, check) = bytes
            .split_last_chunk::<8>()
            .filter(|(body, _)| body.len() >= HEADER)
            .ok_or(malformed("header cut short"))?;
        if body[..8] != MAGIC {
            return Err(malformed("not a noise state of a known version"));
        }
        let (words, _) = body.as_chunks::<8>();
        let word = |index: usize| u64::from_le_bytes(words[index]);
        if word(1) != strategy_digest(&strategy) {
            return Err(malformed("state of another strategy"));
        }
        if word(2) != dimension as u64 {
            return Err(malformed("state of another dimension"));
        }
        let (round, planned) = (word(5) as u32, (word(5) >> 32) as u32);
        if planned > MAX_ROUNDS || round > planned {
            return Err(malformed("impossible number of rounds"));
        }
        let sigma = (word(3), word(4));
        if (round > 0) != (sigma.0 > 0 && sigma.1 > 0) {
            return Err(malformed("impossible sigma"));
        }
        let count = strategy.vectors(round);
        if Some(body.len() - HEADER) != dimension.checked_mul(8 * count) {
            return Err(malformed("length does not match rounds and dimension"));
        }
        if u64::from_le_bytes(*check) != check_word(body) {
            return Err(malformed("check word does not match"));
        }
        let (values, _) = body[HEADER..].as_chunks::<8>();
        let vectors = values
            .chunks(dimension)
            .map(|vector| vector.iter().map(|raw| i64::from_le_bytes(*raw)).collect())
            .collect();
        Ok(Self {
            strategy,
            dimension,
            round,
            planned,
            sigma,
            vectors,
        })
    }
}

fn strategy_digest(strategy: &Strategy) -> u64 {
    match strategy {
        Strategy::Tree => mix(0, 1),
        Strategy::Blt(blt) => blt
            .theta()
            .iter()
            .chain(blt.omega())
            .fold(mix(0, 2), |digest, value| mix(digest, value.to_bits())),
    }
}

/// A word over words of 8 bytes; all lengths here are multiples of 8.
fn check_word(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let start = mix(rest.len() as u64, bytes.len() as u64);
    words
        .iter()
        .fold(start, |check, raw| mix(check, u64::from_le_bytes(*raw)))
}

/// Invertible in either argument while the other stays, so no single word can change unseen.
fn mix(state: u64, word: u64) -> u64 {
    // the odd constant is 2^64 over the golden ratio
    (state ^ word)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .rotate_left(29)
}
