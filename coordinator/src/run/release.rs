//! From the sealed contributions of a round to new model versions.
//!
//! - `input`: what a release needs, and what comes of it
//! - `noise`: on the sums and on the votes that move the clip
//! - `steps`: the step of each model

mod input;
mod noise;
mod steps;

use tributary_aggregator::Partial;
use tributary_model::ModelFile;
use tributary_privacy::NoiseSource;

pub use self::input::{Collected, Release, Released, RoundClip};
use self::noise::RoundNoise;
use self::steps::Steps;
use super::collect::Sealed;
use super::costs::SumNoise;
use crate::CoordinatorError;
use crate::engine::{Noise, RunState, Signs};
use crate::random::seeded_bytes;

/// A round has sums or single updates, as its rule needs.
const MIXED: &str = "a round of sums has single updates";

impl Release {
    /// Adds the noise, divides once, steps the optimisers. Runs for milliseconds to seconds: call it
    /// where blocking is allowed.
    ///
    /// # Errors
    /// When noise can't be drawn, with everything as it was, or a rule or an optimiser would leave
    /// the finite numbers.
    pub fn run(mut self) -> Result<Released, Box<(CoordinatorError, Self)>> {
        let mut steps = match self.steps() {
            Ok(steps) => steps,
            Err(error) => return Err(Box::new((error, self))),
        };
        for (index, step) in steps.models.iter().enumerate() {
            let Some(step) = step else {
                continue; // nobody trained this cluster
            };
            let weights = &mut self.bases[index].weights;
            if let Err(error) = self.server.optimisers[index].apply(weights, step) {
                return Err(Box::new((error.into(), self)));
            }
        }
        self.server.centre = steps.centre.or(self.server.centre);
        self.server.noise = steps.noise.or(self.server.noise);
        let noise = self.expected_noise();
        let (before, clip) = (self.before.take(), self.clip.now);
        let main = self.main();
        let step = steps.models.first_mut().and_then(Option::take);
        let signs = step
            .as_deref()
            .map(|step| Signs::of(step, before.as_deref(), noise, &main.weights, clip));
        let variants = if self.bases.len() > 1 {
            self.bases
        } else {
            Vec::new()
        };
        Ok(Released {
            main,
            variants,
            control: steps.control,
            clip: steps.clip,
            signs,
            step,
            stored: self.server.to_bytes(),
            server: self.server,
        })
    }

    fn steps(&mut self) -> Result<Steps, CoordinatorError> {
        if let Collected::Updates(updates) = &mut self.collected {
            // moved: they are the largest thing here, and are read anew should this fail
            let updates = std::mem::take(updates);
            return self.robust_steps(updates);
        }
        match &self.collected {
            Collected::Updates(_) => Err(CoordinatorError::Inconsistent(MIXED)),
            Collected::Sums(sealed) => match &**sealed {
                Sealed::Updates(_) => Err(CoordinatorError::Inconsistent(MIXED)),
                Sealed::Sums(sums) => {
                    // fresh from the operating system for each release, and zeroised when dropped
                    let source = match self.noise_seed {
                        Some(seed) => NoiseSource::seeded(seed),
                        None => NoiseSource::from_os()?,
                    };
                    self.mean_steps(sums, &mut RoundNoise::of(self, source))
                }
            },
        }
    }

    /// The noise that is expected in the mean update. None where it depends on the round (correlated noise).
    fn expected_noise(&self) -> Option<Noise> {
        let fixed = &self.format.fixed;
        let deviation = match (&self.costs.noise, self.local_noise) {
            (SumNoise::Correlated { .. }, _) => return None,
            (SumNoise::Independent(gaussian), _) => {
                gaussian.sigma() * fixed.step() / f64::from(self.cohort.max(1))
            }
            (SumNoise::None, sigma) => sigma / (self.contributions().max(1) as f64).sqrt(),
        };
        let values = fixed.dimension();
        Some(Noise { deviation, values })
    }

    /// Contributions of the round, which are public.
    fn contributions(&self) -> u64 {
        match &self.collected {
            Collected::Updates(updates) => updates.len() as u64,
            Collected::Sums(sealed) => match &**sealed {
                Sealed::Updates(updates) => updates.len() as u64,
                Sealed::Sums(sums) => sums.iter().map(Partial::count).sum(),
            },
        }
    }

    /// The version of the whole run: the only one, the first cluster's, or with regional heads the
    /// shared part with the mean of the heads.
    fn main(&mut self) -> ModelFile {
        let several = self.bases.len();
        if several == 1 {
            return self.bases.swap_remove(0);
        }
        let mut main = self.bases[0].clone();
        if self.format.payload.heads().is_some() {
            for (index, weight) in main.weights.iter_mut().enumerate() {
                let all = self.bases.iter();
                let sum: f64 = all.map(|base| f64::from(base.weights[index])).sum();
                *weight = (sum / several as f64) as f32;
            }
        }
        main
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

/// Seed of what a robust rule draws in a round: nobody outside knows the run's key.
pub fn rule_seed(state: &RunState) -> u64 {
    let round = state.round.number.to_be_bytes();
    let bytes = seeded_bytes(0, &[b"rule", &state.key, &round]);
    let (first, _) = bytes.as_chunks::<8>();
    first.first().map_or(0, |raw| u64::from_be_bytes(*raw))
}

#[cfg(test)]
mod tests;
