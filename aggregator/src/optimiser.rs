//! How the released mean moves the global weights.
//!
//! The mean update plays the part of a negative gradient (Reddi et al. 2021, "Adaptive Federated
//! Optimization", algorithm 2). All of it is post-processing of an already released value.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::stored::read_u64;

const MAGIC: [u8; 8] = *b"TRBOPTS1";
const HEADER: usize = MAGIC.len() + 1 + 8 + 8;

/// The server optimiser of a run and its constants.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ServerOptimiser {
    /// w <- w + learning_rate * delta. Learning rate 1 is plain federated averaging (McMahan et al.
    /// 2017).
    #[serde(rename = "fedavg")]
    FedAvg {
        /// Step size, above 0.
        learning_rate: f32,
    },
    /// v <- momentum v + delta; w <- w + learning_rate v (Hsu, Qi, Brown 2019).
    #[serde(rename = "fedavgm")]
    FedAvgM {
        /// Step size, above 0.
        learning_rate: f32,
        /// Share of the velocity that is kept, in [0, 1).
        momentum: f32,
    },
    /// m <- beta1 m + (1 - beta1) delta; v <- beta2 v + (1 - beta2) delta^2;
    /// w <- w + learning_rate m / (sqrt(v) + epsilon), without bias correction (Reddi et al. 2021).
    #[serde(rename = "fedadam")]
    FedAdam {
        /// Step size, above 0.
        learning_rate: f32,
        /// Decay of the first moment, in [0, 1).
        beta1: f32,
        /// Decay of the second moment, in [0, 1).
        beta2: f32,
        /// Degree of adaptivity (tau in the paper), above 0; 1e-3 is its recommendation.
        epsilon: f32,
    },
}

/// Why an optimiser can't be set up, stepped or restored.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OptimiserError {
    /// A constant is out of its range.
    #[error("server optimiser {field} is {value}; it must be {range}")]
    BadConstant {
        /// Name of the constant.
        field: &'static str,
        /// The refused value.
        value: f32,
        /// The range it must lie in.
        range: &'static str,
    },
    /// Weights, update and state have different lengths.
    #[error(
        "{what} has {actual} values but the optimiser state has {expected}; start a new run for a new architecture"
    )]
    DimensionMismatch {
        /// Which vector differs.
        what: &'static str,
        /// Length of the state.
        expected: usize,
        /// Length of the vector.
        actual: usize,
    },
    /// The update or the step is not finite.
    #[error("value {index} of the {what} is not finite; lower the server learning rate")]
    NotFinite {
        /// Which vector holds it.
        what: &'static str,
        /// Its position.
        index: usize,
    },
    /// Stored bytes are not a state of this optimiser.
    #[error(
        "stored optimiser state is not readable: {reason}; restore the blob or restart the run"
    )]
    Malformed {
        /// What is wrong with the bytes.
        reason: &'static str,
    },
}

/// A server optimiser with what it remembers between rounds. `Debug` leaves the vectors out.
#[derive(Clone, PartialEq)]
pub struct OptimiserState {
    optimiser: ServerOptimiser,
    dimension: usize,
    steps: u64,
    /// Velocity or first moment; empty for FedAvg.
    first: Vec<f32>,
    /// Second moment; empty but for FedAdam.
    second: Vec<f32>,
}

impl ServerOptimiser {
    /// Checks every constant.
    ///
    /// # Errors
    /// [`OptimiserError::BadConstant`] names the first that is out of range.
    pub fn validate(&self) -> Result<(), OptimiserError> {
        match *self {
            Self::FedAvg { learning_rate } => positive("learning_rate", learning_rate),
            Self::FedAvgM {
                learning_rate,
                momentum,
            } => {
                positive("learning_rate", learning_rate)?;
                decay("momentum", momentum)
            }
            Self::FedAdam {
                learning_rate,
                beta1,
                beta2,
                epsilon,
            } => {
                positive("learning_rate", learning_rate)?;
                decay("beta1", beta1)?;
                decay("beta2", beta2)?;
                positive("epsilon", epsilon)
            }
        }
    }

    /// Vectors of state it keeps, and the byte that names it in stored state.
    fn layout(&self) -> (usize, u8) {
        match self {
            Self::FedAvg { .. } => (0, 0),
            Self::FedAvgM { .. } => (1, 1),
            Self::FedAdam { .. } => (2, 2),
        }
    }
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
            } => {
                let moments = self.first.iter_mut().zip(&mut self.second).zip(mean_delta);
                for (weight, ((mean, square), delta)) in weights.iter_mut().zip(moments) {
                    *mean = beta1 * *mean + (1.0 - beta1) * delta;
                    *square = beta2 * *square + (1.0 - beta2) * delta * delta;
                    *weight += learning_rate * *mean / (square.sqrt() + epsilon);
                }
            }
        }
        self.steps += 1;
        check_finite("new weights", weights)
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

fn positive(field: &'static str, value: f32) -> Result<(), OptimiserError> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(OptimiserError::BadConstant {
        field,
        value,
        range: "finite and above 0",
    })
}

fn decay(field: &'static str, value: f32) -> Result<(), OptimiserError> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(OptimiserError::BadConstant {
        field,
        value,
        range: "at least 0 and below 1",
    })
}

fn check_finite(what: &'static str, values: &[f32]) -> Result<(), OptimiserError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(OptimiserError::NotFinite { what, index }),
        None => Ok(()),
    }
}
