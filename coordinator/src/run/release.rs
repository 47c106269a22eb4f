//! From the sealed sum of a round to a new model version.

use tributary_aggregator::{FixedPoint, NoiseSource, OptimiserState, Partial, release_mean};
use tributary_model::ModelFile;

use super::plan::RunCosts;
use crate::CoordinatorError;
use crate::core::seeded_bytes;
use crate::engine::RunState;

/// What a release needs, moved off the actor's thread.
pub struct Release {
    /// The exact integer sum. Nothing else of the round leaves the actor.
    pub total: Partial,
    /// The integer grid.
    pub fixed: FixedPoint,
    /// The planned number of contributions.
    pub denominator: u64,
    /// The price and the noise.
    pub costs: RunCosts,
    /// The version that devices started from.
    pub base: ModelFile,
    /// The server optimiser before this round.
    pub optimiser: OptimiserState,
    /// Seed of the noise in a seeded run.
    pub seed: Option<[u8; 32]>,
}

/// A new version and the optimiser's new state.
pub struct Released {
    /// The version.
    pub file: ModelFile,
    /// The optimiser.
    pub optimiser: OptimiserState,
}

impl Release {
    /// Adds the noise, divides once, steps the optimiser. Runs for milliseconds to seconds: call it
    /// where blocking is allowed.
    ///
    /// # Errors
    /// When noise can't be drawn or the optimiser would leave the finite numbers.
    pub fn run(mut self) -> Result<Released, CoordinatorError> {
        let mean = match &self.costs.noise {
            None => release_mean(&self.total, &self.fixed, self.denominator as f64, None)?,
            Some(noise) => {
                // fresh from the operating system for each release, and zeroised when dropped
                let mut source = match self.seed {
                    Some(seed) => NoiseSource::seeded(seed),
                    None => NoiseSource::from_os()?,
                };
                let with = Some((noise, &mut source));
                release_mean(&self.total, &self.fixed, self.denominator as f64, with)?
            }
        };
        self.optimiser.apply(&mut self.base.weights, &mean)?;
        Ok(Released {
            file: self.base,
            optimiser: self.optimiser,
        })
    }
}

/// Seed of a round's noise in a seeded run.
pub fn noise_seed(state: &RunState) -> Option<[u8; 32]> {
    let seed = state.spec.seed?;
    let round = state.round.number.to_be_bytes();
    let attempt = state.round.attempt.to_be_bytes();
    Some(seeded_bytes(
        seed,
        &[b"noise", state.id.as_str().as_bytes(), &round, &attempt],
    ))
}
