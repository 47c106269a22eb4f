//! The noise of one run, round after round.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use super::dimension::check_dimension;
use super::integer_blt::{IntegerBlt, coarse, fine_seed_noise, largest_sigma};
use super::{FtrlError, MAX_ROUNDS, Strategy, tree};
use crate::noise::{DiscreteGaussian, FastestGaussian, NoiseSource};

/// The state that correlates the noise of a run's rounds.
///
/// One state belongs to one run and one sigma. Store [`CorrelatedNoise::to_bytes`] together with
/// the round's release, in one transaction: going on from older bytes would give a round that was
/// already released a second, related noise, which the guarantee does not cover. A state restored
/// from its bytes continues with identical bits for the same source.
#[derive(Clone, PartialEq)]
pub struct CorrelatedNoise {
    pub(super) strategy: Strategy,
    pub(super) dimension: usize,
    /// Rounds emitted.
    pub(super) round: u32,
    /// Rounds allowed.
    pub(super) planned: u32,
    /// Sigma of the rounds so far, as a fraction; (0, 0) before the first.
    pub(super) sigma: (u64, u64),
    /// Buffers of the BLT, or the open nodes of the tree from the widest to the narrowest.
    pub(super) vectors: Vec<Vec<i64>>,
}

impl CorrelatedNoise {
    /// The state before the first round, for at most [`MAX_ROUNDS`] rounds.
    ///
    /// # Errors
    /// [`FtrlError::BadDimension`] unless `dimension` is in 1..=[`crate::MAX_DIMENSION`].
    pub fn new(strategy: Strategy, dimension: usize) -> Result<Self, FtrlError> {
        check_dimension(dimension)?;
        let vectors = vec![vec![0; dimension]; strategy.vectors(0)];
        Ok(Self {
            strategy,
            dimension,
            round: 0,
            planned: MAX_ROUNDS,
            sigma: (0, 0),
            vectors,
        })
    }

    /// The same state, refusing rounds beyond `rounds`: those that the charge was made for.
    ///
    /// # Errors
    /// [`FtrlError::PlanTooShort`] when more were already emitted.
    pub fn with_planned_rounds(mut self, rounds: u32) -> Result<Self, FtrlError> {
        if rounds < self.round {
            return Err(FtrlError::PlanTooShort {
                planned: rounds,
                emitted: self.round,
            });
        }
        self.planned = rounds.min(MAX_ROUNDS);
        Ok(self)
    }

    /// Rounds whose noise was emitted.
    pub fn round(&self) -> u32 {
        self.round
    }

    /// Values of one round.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The strategy.
    pub fn strategy(&self) -> &Strategy {
        &self.strategy
    }

    /// Adds the next round's noise to integer sums and moves on.
    ///
    /// `seed_noise` is the noise of the seeds, its sigma in grid units and the same in all rounds. A
    /// BLT rounds it up to a multiple of 2^-8. Chunks of [`NoiseSource::CHUNK`] values take streams
    /// of their own, so the outcome depends on state and source alone. Sums at the edge of i64
    /// saturate, which is a function of the released value only.
    ///
    /// # Errors
    /// [`FtrlError::DimensionMismatch`], [`FtrlError::RoundsSpent`], [`FtrlError::SigmaChanged`],
    /// [`FtrlError::SigmaTooLarge`]. Nothing was drawn, added or moved then.
    pub fn add_next(
        &mut self,
        sums: &mut [i64],
        seed_noise: &DiscreteGaussian,
        source: &mut NoiseSource,
    ) -> Result<(), FtrlError> {
        if sums.len() != self.dimension {
            return Err(FtrlError::DimensionMismatch {
                expected: self.dimension,
                actual: sums.len(),
            });
        }
        if self.round >= self.planned {
            return Err(FtrlError::RoundsSpent {
                planned: self.planned,
            });
        }
        let ratio = seed_noise.ratio();
        if self.round > 0 && ratio != self.sigma {
            return Err(FtrlError::SigmaChanged {
                before: self.sigma.0 as f64 / self.sigma.1 as f64,
                now: seed_noise.sigma(),
            });
        }
        match &self.strategy {
            Strategy::Blt(blt) => {
                let fine = fine_seed_noise(seed_noise, largest_sigma(blt))?;
                let integer = IntegerBlt::new(blt);
                add_blt(&integer, &mut self.vectors, sums, &fine, source);
            }
            Strategy::Tree => {
                let closed = tree::closed_nodes(self.round + 1);
                add_tree(&mut self.vectors, closed, sums, seed_noise, source);
            }
        }
        self.round += 1;
        self.sigma = ratio;
        Ok(())
    }
}

impl Drop for CorrelatedNoise {
    fn drop(&mut self) {
        self.vectors.zeroize();
    }
}

impl fmt::Debug for CorrelatedNoise {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            strategy,
            dimension,
            round,
            ..
        } = self;
        write!(
            formatter,
            "CorrelatedNoise({strategy:?}, {dimension} values, {round} rounds)"
        )
    }
}

fn add_blt(
    blt: &IntegerBlt,
    buffers: &mut [Vec<i64>],
    sums: &mut [i64],
    fine: &DiscreteGaussian,
    source: &mut NoiseSource,
) {
    let seeds = FastestGaussian::new(fine, sums.len());
    let mut noise = scratch(sums.len());
    let mut buffers: Vec<_> = buffers
        .iter_mut()
        .map(|buffer| buffer.chunks_mut(NoiseSource::CHUNK))
        .collect();
    for sums in sums.chunks_mut(NoiseSource::CHUNK) {
        let noise = &mut noise[..sums.len()];
        noise.fill(0);
        seeds.add_noise(noise, source);
        let mut slices: Vec<_> = buffers.iter_mut().filter_map(Iterator::next).collect();
        blt.step(noise, &mut slices);
        add(sums, noise.iter().map(|&noise| coarse(noise)));
    }
}

fn add_tree(
    nodes: &mut Vec<Vec<i64>>,
    closed: usize,
    sums: &mut [i64],
    seed_noise: &DiscreteGaussian,
    source: &mut NoiseSource,
) {
    let mut closed = nodes.split_off(nodes.len() - closed);
    let seeds = FastestGaussian::new(seed_noise, sums.len());
    let mut fresh = vec![0; sums.len()];
    let mut noise = scratch(sums.len());
    let chunks = sums.chunks_mut(NoiseSource::CHUNK);
    for (index, (sums, node)) in chunks.zip(fresh.chunks_mut(NoiseSource::CHUNK)).enumerate() {
        seeds.add_noise(node, source);
        let noise = &mut noise[..sums.len()];
        noise.copy_from_slice(node);
        let start = index * NoiseSource::CHUNK;
        let replaced: Vec<_> = closed
            .iter()
            .map(|node| &node[start..start + sums.len()])
            .collect();
        tree::close(noise, &replaced);
        add(sums, noise.iter().copied());
    }
    closed.zeroize();
    nodes.push(fresh);
}

fn scratch(values: usize) -> Zeroizing<Vec<i64>> {
    Zeroizing::new(vec![0; values.min(NoiseSource::CHUNK)])
}

fn add(sums: &mut [i64], noise: impl Iterator<Item = i64>) {
    for (sum, noise) in sums.iter_mut().zip(noise) {
        *sum = sum.saturating_add(noise);
    }
}
