//! What a server optimiser remembers between rounds, and its step.

use std::cmp::Ordering;
use std::fmt;

use super::{OptimiserError, ServerOptimiser};
use crate::stored::read_u64;

const MAGIC: [u8; 8] = *b"TRBOPTS1";
const HEADER: usize = MAGIC.len() + 1 + 8 + 8;

/// A server optimiser with what it remembers between rounds. `Debug` leaves the vectors out.
#[derive(Clone, PartialEq)]
pub struct OptimiserState {
    optimiser: ServerOptimiser,
    dimension: usize,
    steps: u64,
    /// Velocity, first moment or correction; empty for FedAvg.
    first: Vec<f32>,
    /// Second moment; empty but for the adaptive ones.
    second: Vec<f32>,
}

impl OptimiserState {
    /// A fresh state for `dimension` parameters.
    ///
    /// # Errors
    /// [`OptimiserError::BadConstant`].
    pub fn new(optimiser: ServerOptimiser, dimension: usize) -> Result<Self, OptimiserError> {
        optimiser.validate()?;
        let (vectors, _) = optimiser.layout();
        let zeros = |present: bool| {
            if present {
                vec![0.0; dimension]
            } else {
                Vec::new()
            }
        };
        Ok(Self {
            optimiser,
            dimension,
            steps: 0,
            first: zeros(vectors > 0),
            second: zeros(vectors > 1),
        })
    }

    /// The optimiser and its constants.
    pub fn optimiser(&self) -> &ServerOptimiser {
        &self.optimiser
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Moves `weights` by one step along `mean_delta`, both with one value per parameter.
    ///
    /// # Errors
    /// [`OptimiserError::DimensionMismatch`] or [`OptimiserError::NotFinite`] for a broken update:
    /// nothing has changed then. [`OptimiserError::NotFinite`] for the weights means that the step
    /// itself overflowed: discard both and go back to the last version.
    pub fn apply(&mut self, weights: &mut [f32], mean_delta: &[f32]) -> Result<(), OptimiserError> {
        self.check_length("weights", weights.len())?;
        self.check_length("mean update", mean_delta.len())?;
        check_finite("mean update", mean_delta)?;
        self.step(weights, mean_delta);
        self.steps += 1;
        check_finite("new weights", weights)
    }

    /// The step of each optimiser, along finite values of the right number.
    fn step(&mut self, weights: &mut [f32], mean_delta: &[f32]) {
        match self.optimiser {
            ServerOptimiser::FedAvg { learning_rate } => {
                for (weight, delta) in weights.iter_mut().zip(mean_delta) {
                    *weight += learning_rate * delta;
                }
            }
            ServerOptimiser::FedAvgM {
                learning_rate,
                momentum,
            } => {
                let moments = self.first.iter_mut().zip(mean_delta);
                for (weight, (velocity, delta)) in weights.iter_mut().zip(moments) {
                    *velocity = momentum * *velocity + delta;
                    *weight += learning_rate * *velocity;
                }
            }
            ServerOptimiser::FedAdam {
                learning_rate,
                beta1,
                beta2,
                epsilon,
            } => self.adapt(
                weights,
                mean_delta,
                (learning_rate, beta1, epsilon),
                |v, g| beta2 * v + (1.0 - beta2) * g,
            ),
            ServerOptimiser::FedAdagrad {
                learning_rate,
                beta1,
                epsilon,
            } => self.adapt(
                weights,
                mean_delta,
                (learning_rate, beta1, epsilon),
                |v, g| v + g,
            ),
            ServerOptimiser::FedYogi {
                learning_rate,
                beta1,
                beta2,
                epsilon,
            } => self.adapt(
                weights,
                mean_delta,
                (learning_rate, beta1, epsilon),
                |v, g| yogi(v, g, beta2),
            ),
            ServerOptimiser::FedDyn { participation } => {
                let moments = self.first.iter_mut().zip(mean_delta);
                for (weight, (correction, delta)) in weights.iter_mut().zip(moments) {
                    *correction += participation * delta;
                    *weight += delta + *correction;
                }
            }
        }
    }

    /// The step that FedAdagrad, FedAdam and FedYogi share: `second(v, delta^2)` is the new second
    /// moment.
    fn adapt(
        &mut self,
        weights: &mut [f32],
        mean_delta: &[f32],
        (learning_rate, beta1, epsilon): (f32, f32, f32),
        second: impl Fn(f32, f32) -> f32,
    ) {
        let moments = self.first.iter_mut().zip(&mut self.second).zip(mean_delta);
        for (weight, ((mean, square), delta)) in weights.iter_mut().zip(moments) {
            *mean = beta1 * *mean + (1.0 - beta1) * delta;
            *square = second(*square, delta * delta);
            *weight += learning_rate * *mean / (square.sqrt() + epsilon);
        }
    }

    /// The stored form: magic, kind, dimension, steps, then the state vectors as little endian f32.
    /// The constants are not in it: they belong to the run.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (_, kind) = self.optimiser.layout();
        let values = self.first.len() + self.second.len();
        let mut bytes = Vec::with_capacity(HEADER + 4 * values);
        bytes.extend_from_slice(&MAGIC);
        bytes.push(kind);
        bytes.extend_from_slice(&(self.dimension as u64).to_le_bytes());
        bytes.extend_from_slice(&self.steps.to_le_bytes());
        bytes.extend(
            self.first
                .iter()
                .chain(&self.second)
                .flat_map(|value| value.to_le_bytes()),
        );
        bytes
    }

    /// Restores what [`OptimiserState::to_bytes`] wrote for the same optimiser and dimension.
    ///
    /// # Errors
    /// [`OptimiserError::BadConstant`], or [`OptimiserError::Malformed`] for bytes of another kind,
    /// dimension or length, or with non-finite values. Any byte string is safe.
    pub fn from_bytes(
        optimiser: ServerOptimiser,
        dimension: usize,
        bytes: &[u8],
    ) -> Result<Self, OptimiserError> {
        let malformed = |reason| OptimiserError::Malformed { reason };
        optimiser.validate()?;
        let (vectors, kind) = optimiser.layout();
        let (header, body) = bytes
            .split_at_checked(HEADER)
            .ok_or(malformed("header cut short"))?;
        if header[..8] != MAGIC {
            return Err(malformed("not an optimiser state of a known version"));
        }
        if header[8] != kind {
            return Err(malformed("state of another optimiser"));
        }
        if read_u64(header, 9) != dimension as u64 {
            return Err(malformed("state of another dimension"));
        }
        if Some(body.len()) != dimension.checked_mul(4 * vectors) {
            return Err(malformed("length does not match the dimension"));
        }
        let mut first: Vec<f32> = body
            .as_chunks::<4>()
            .0
            .iter()
            .map(|raw| f32::from_le_bytes(*raw))
            .collect();
        if first.iter().any(|value| !value.is_finite()) {
            return Err(malformed("a state value is not finite"));
        }
        let second = first.split_off(first.len().min(dimension));
        if second.iter().any(|&square| square < 0.0) {
            return Err(malformed("a second moment is negative"));
        }
        Ok(Self {
            optimiser,
            dimension,
            steps: read_u64(header, 17),
            first,
            second,
        })
    }

    fn check_length(&self, what: &'static str, actual: usize) -> Result<(), OptimiserError> {
        let expected = self.dimension;
        if actual == expected {
            return Ok(());
        }
        Err(OptimiserError::DimensionMismatch {
            what,
            expected,
            actual,
        })
    }
}

impl fmt::Debug for OptimiserState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            optimiser,
            dimension,
            steps,
            ..
        } = self;
        write!(
            formatter,
            "OptimiserState({optimiser:?}, {dimension} parameters, {steps} steps)"
        )
    }
}

/// v - (1 - beta2) g sign(v - g): FedYogi's next second moment from the last one and the squared update.
fn yogi(v: f32, g: f32, beta2: f32) -> f32 {
    match v.partial_cmp(&g) {
        Some(Ordering::Greater) => v - (1.0 - beta2) * g,
        Some(Ordering::Less) => v + (1.0 - beta2) * g,
        _ => v,
    }
}

fn check_finite(what: &'static str, values: &[f32]) -> Result<(), OptimiserError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(OptimiserError::NotFinite { what, index }),
        None => Ok(()),
    }
}
