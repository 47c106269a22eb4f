//! What the server side of a run remembers from round to round, beside the model.

use tributary_aggregator::{OptimiserError, OptimiserState, ServerOptimiser};
use tributary_privacy::ftrl::{CorrelatedNoise, Strategy};

use crate::CoordinatorError;

const MAGIC: [u8; 8] = *b"TRBSERV2";
/// States of before there was correlated noise: they end with the centre.
const MAGIC_1: [u8; 8] = *b"TRBSERV1";

/// What a state belongs to, beside its own bytes.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The optimiser.
    pub optimiser: ServerOptimiser,
    /// Number of models.
    pub models: usize,
    /// Parameters of a model.
    pub dimension: usize,
    /// Correlated noise; none when there is none.
    pub noise: Option<NoiseShape>,
}

/// What a state of correlated noise belongs to.
#[derive(Debug, Clone)]
pub struct NoiseShape {
    /// How the rounds hang together.
    pub strategy: Strategy,
    /// Values of a payload.
    pub length: usize,
    /// Rounds that the charges were worked out for.
    pub rounds: u32,
}

/// One optimiser for each model of the run, the centre of a robust rule, and correlated noise.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerState {
    /// One per model: regions or clusters may have their own.
    pub optimisers: Vec<OptimiserState>,
    /// What the robust rule gave last; centered clipping starts from it.
    pub centre: Option<Vec<f32>>,
    /// Noise that the rounds to come take back.
    pub noise: Option<CorrelatedNoise>,
}

impl ServerState {
    /// The state before the first round.
    ///
    /// # Errors
    /// When a constant of the optimiser or of the noise is out of range.
    pub fn new(shape: &Shape) -> Result<Self, CoordinatorError> {
        let fresh = OptimiserState::new(shape.optimiser, shape.dimension)?;
        let noise = shape.noise.as_ref().map(|noise| {
            CorrelatedNoise::new(noise.strategy.clone(), noise.length)?
                .with_planned_rounds(noise.rounds)
        });
        Ok(Self {
            optimisers: vec![fresh; shape.models],
            centre: None,
            noise: noise.transpose()?,
        })
    }

    /// What stands in for a state that is away with a release.
    pub fn none() -> Self {
        Self {
            optimisers: Vec::new(),
            centre: None,
            noise: None,
        }
    }

    /// The stored form: magic, number of optimisers, then each part as its length and bytes: the
    /// optimisers, the centre, the noise; the last two are empty when there are none. Little endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&(self.optimisers.len() as u64).to_le_bytes());
        let mut part = |body: Vec<u8>| {
            bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
            bytes.extend_from_slice(&body);
        };
        for optimiser in &self.optimisers {
            part(optimiser.to_bytes());
        }
        let centre = self.centre.iter().flatten();
        part(centre.flat_map(|value| value.to_le_bytes()).collect());
        part(
            self.noise
                .as_ref()
                .map_or(Vec::new(), CorrelatedNoise::to_bytes),
        );
        bytes
    }

    /// Reads what [`ServerState::to_bytes`] wrote.
    ///
    /// # Errors
    /// When the bytes are not a state of this run.
    pub fn from_bytes(shape: &Shape, bytes: &[u8]) -> Result<Self, CoordinatorError> {
        let malformed = |reason| OptimiserError::Malformed { reason };
        let first = bytes.strip_prefix(&MAGIC_1);
        let rest = bytes
            .strip_prefix(&MAGIC)
            .or(first)
            .ok_or(malformed("not a server state of a known version"))?;
        let (count, mut rest) = number(rest).ok_or(malformed("header cut short"))?;
        if count != shape.models as u64 {
            return Err(malformed("state of another number of models").into());
        }
        let mut next = || {
            let (length, body) = number(rest)?;
            let (part, after) = body.split_at_checked(usize::try_from(length).ok()?)?;
            rest = after;
            Some(part)
        };
        let mut optimisers = Vec::with_capacity(shape.models);
        for _ in 0..shape.models {
            let part = next().ok_or(malformed("an optimiser is cut short"))?;
            optimisers.push(OptimiserState::from_bytes(
                shape.optimiser,
                shape.dimension,
                part,
            )?);
        }
        let centre = next().ok_or(malformed("the centre is cut short"))?;
        let noise = match first {
            Some(_) => &[],
            None => next().ok_or(malformed("the noise is cut short"))?,
        };
        let (values, tail) = centre.as_chunks::<4>();
        let values: Vec<f32> = values.iter().map(|raw| f32::from_le_bytes(*raw)).collect();
        if !rest.is_empty() || !tail.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return Err(malformed("the centre is damaged").into());
        }
        let noise = match (&shape.noise, noise) {
            (None, []) => None,
            (Some(shape), noise) => {
                let strategy = shape.strategy.clone();
                let state = CorrelatedNoise::from_bytes(strategy, shape.length, noise)?;
                Some(state.with_planned_rounds(shape.rounds)?)
            }
            (None, _) => return Err(malformed("noise of another plan").into()),
        };
        Ok(Self {
            optimisers,
            centre: (!values.is_empty()).then_some(values),
            noise,
        })
    }
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (raw, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*raw), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tributary_privacy::{DiscreteGaussian, NoiseSource};

    use super::*;

    const ADAM: ServerOptimiser = ServerOptimiser::FedAdam {
        learning_rate: 0.1,
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-3,
    };

    fn shape(models: usize, dimension: usize) -> Shape {
        Shape {
            optimiser: ADAM,
            models,
            dimension,
            noise: Some(NoiseShape {
                strategy: super::Strategy::Tree,
                length: 5,
                rounds: 8,
            }),
        }
    }

    fn stepped() -> ServerState {
        let mut state = ServerState::new(&shape(2, 3)).unwrap();
        let seeds = DiscreteGaussian::new(9).unwrap();
        let mut source = NoiseSource::seeded([4; 32]);
        let noise = state.noise.as_mut().unwrap();
        noise.add_next(&mut [0; 5], &seeds, &mut source).unwrap();
        state.optimisers[1]
            .apply(&mut [0.0; 3], &[1.0, -2.0, 3.0])
            .unwrap();
        state.centre = Some(vec![0.5, -0.25]);
        state
    }

    #[test]
    fn a_state_comes_back_as_it_was() {
        let state = stepped();
        let back = ServerState::from_bytes(&shape(2, 3), &state.to_bytes()).unwrap();
        assert_eq!(back.to_bytes(), state.to_bytes());
        assert!(ServerState::from_bytes(&shape(1, 3), &state.to_bytes()).is_err());
        assert!(ServerState::from_bytes(&shape(2, 4), &state.to_bytes()).is_err());
        let without = Shape {
            noise: None,
            ..shape(2, 3)
        };
        assert!(ServerState::from_bytes(&without, &state.to_bytes()).is_err());
    }

    #[test]
    fn a_state_of_the_first_version_is_read() {
        let without = Shape {
            noise: None,
            ..shape(2, 3)
        };
        let mut state = stepped();
        state.noise = None;
        let mut bytes = state.to_bytes();
        bytes[..8].copy_from_slice(&MAGIC_1);
        bytes.truncate(bytes.len() - 8); // the length of no noise
        let back = ServerState::from_bytes(&without, &bytes).unwrap();
        assert_eq!(back.to_bytes(), state.to_bytes());
    }

    proptest! {
        #[test]
        fn damaged_bytes_are_another_state_or_a_typed_error(
            cut in 0usize..200,
            flips in prop::collection::vec((0usize..200, any::<u8>()), 0..4),
        ) {
            let mut bytes = stepped().to_bytes();
            for (at, with) in flips {
                let length = bytes.len();
                bytes[at % length] ^= with;
            }
            bytes.truncate(cut.max(1));
            if let Ok(state) = ServerState::from_bytes(&shape(2, 3), &bytes) {
                prop_assert_eq!(state.to_bytes(), bytes);
            }
        }
    }
}
