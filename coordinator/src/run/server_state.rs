//! What the server side of a run remembers from round to round, beside the model.

use tributary_aggregator::{OptimiserError, OptimiserState, ServerOptimiser};

use crate::CoordinatorError;

const MAGIC: [u8; 8] = *b"TRBSERV1";

/// One optimiser for each model of the run, and the centre of a robust rule.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerState {
    /// One per model: regions or clusters may have their own.
    pub optimisers: Vec<OptimiserState>,
    /// What the robust rule gave last; centered clipping starts from it.
    pub centre: Option<Vec<f32>>,
}

impl ServerState {
    /// The state before the first round.
    ///
    /// # Errors
    /// When a constant of the optimiser is out of range.
    pub fn new(
        optimiser: ServerOptimiser,
        models: usize,
        dimension: usize,
    ) -> Result<Self, OptimiserError> {
        let fresh = OptimiserState::new(optimiser, dimension)?;
        Ok(Self {
            optimisers: vec![fresh; models],
            centre: None,
        })
    }

    /// The stored form: magic, number of optimisers, then each part as its length and bytes; the
    /// centre comes last and is empty when there is none. Little endian.
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
        bytes
    }

    /// Reads what [`ServerState::to_bytes`] wrote.
    ///
    /// # Errors
    /// When the bytes are not a state of this run.
    pub fn from_bytes(
        optimiser: ServerOptimiser,
        models: usize,
        dimension: usize,
        bytes: &[u8],
    ) -> Result<Self, CoordinatorError> {
        let malformed = |reason| OptimiserError::Malformed { reason };
        let rest = bytes
            .strip_prefix(&MAGIC)
            .ok_or(malformed("not a server state of a known version"))?;
        let (count, mut rest) = number(rest).ok_or(malformed("header cut short"))?;
        if count != models as u64 {
            return Err(malformed("state of another number of models").into());
        }
        let mut next = || {
            let (length, body) = number(rest)?;
            let (part, after) = body.split_at_checked(usize::try_from(length).ok()?)?;
            rest = after;
            Some(part)
        };
        let mut optimisers = Vec::with_capacity(models);
        for _ in 0..models {
            let part = next().ok_or(malformed("an optimiser is cut short"))?;
            optimisers.push(OptimiserState::from_bytes(optimiser, dimension, part)?);
        }
        let centre = next().ok_or(malformed("the centre is cut short"))?;
        let (values, tail) = centre.as_chunks::<4>();
        let values: Vec<f32> = values.iter().map(|raw| f32::from_le_bytes(*raw)).collect();
        if !rest.is_empty() || !tail.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return Err(malformed("the centre is damaged").into());
        }
        Ok(Self {
            optimisers,
            centre: (!values.is_empty()).then_some(values),
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

    use super::*;

    const ADAM: ServerOptimiser = ServerOptimiser::FedAdam {
        learning_rate: 0.1,
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-3,
    };

    fn stepped() -> ServerState {
        let mut state = ServerState::new(ADAM, 2, 3).unwrap();
        state.optimisers[1]
            .apply(&mut [0.0; 3], &[1.0, -2.0, 3.0])
            .unwrap();
        state.centre = Some(vec![0.5, -0.25]);
        state
    }

    #[test]
    fn a_state_comes_back_as_it_was() {
        let state = stepped();
        let back = ServerState::from_bytes(ADAM, 2, 3, &state.to_bytes()).unwrap();
        assert_eq!(back, state);
        assert!(ServerState::from_bytes(ADAM, 1, 3, &state.to_bytes()).is_err());
        assert!(ServerState::from_bytes(ADAM, 2, 4, &state.to_bytes()).is_err());
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
            if let Ok(state) = ServerState::from_bytes(ADAM, 2, 3, &bytes) {
                prop_assert_eq!(state.to_bytes(), bytes);
            }
        }
    }
}
