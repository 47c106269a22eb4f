//! How the released mean moves the global weights.
//!
//! The mean update plays the part of a negative gradient (Reddi et al. 2021, "Adaptive Federated
//! Optimization", algorithm 2). All of it is post-processing of an already released value.

mod state;

use serde::{Deserialize, Serialize};

pub use state::OptimiserState;

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
    /// m <- beta1 m + (1 - beta1) delta; v <- v + delta^2; w <- w + learning_rate m / (sqrt(v) + epsilon)
    /// (Reddi et al. 2021, algorithm 2).
    #[serde(rename = "fedadagrad")]
    FedAdagrad {
        /// Step size, above 0.
        learning_rate: f32,
        /// Decay of the first moment, in [0, 1); 0 is none.
        #[serde(default)]
        beta1: f32,
        /// Degree of adaptivity (tau in the paper), above 0.
        epsilon: f32,
    },
    /// m as for FedAdam; v <- v - (1 - beta2) delta^2 sign(v - delta^2);
    /// w <- w + learning_rate m / (sqrt(v) + epsilon) (Reddi et al. 2021, algorithm 2).
    #[serde(rename = "fedyogi")]
    FedYogi {
        /// Step size, above 0.
        learning_rate: f32,
        /// Decay of the first moment, in [0, 1).
        beta1: f32,
        /// Speed at which the second moment follows, in [0, 1).
        beta2: f32,
        /// Degree of adaptivity (tau in the paper), above 0.
        epsilon: f32,
    },
    /// u <- u + participation delta; w <- w + delta + u: the server's side of FedDyn (Acar et al. 2021,
    /// algorithm 1) with u = -h / alpha, in which alpha cancels.
    #[serde(rename = "feddyn")]
    FedDyn {
        /// Share of all devices that contribute in a round, in (0, 1].
        participation: f32,
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
            Self::FedAdagrad {
                learning_rate,
                beta1,
                epsilon,
            } => {
                positive("learning_rate", learning_rate)?;
                decay("beta1", beta1)?;
                positive("epsilon", epsilon)
            }
            Self::FedYogi {
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
            Self::FedDyn { participation } if participation > 0.0 && participation <= 1.0 => Ok(()),
            Self::FedDyn { participation } => Err(OptimiserError::BadConstant {
                field: "participation",
                value: participation,
                range: "above 0 and at most 1",
            }),
        }
    }

    /// The name used in recipes.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FedAvg { .. } => "fedavg",
            Self::FedAvgM { .. } => "fedavgm",
            Self::FedAdam { .. } => "fedadam",
            Self::FedAdagrad { .. } => "fedadagrad",
            Self::FedYogi { .. } => "fedyogi",
            Self::FedDyn { .. } => "feddyn",
        }
    }

    /// Vectors of state it keeps, and the byte that names it in stored state.
    fn layout(&self) -> (usize, u8) {
        match self {
            Self::FedAvg { .. } => (0, 0),
            Self::FedAvgM { .. } => (1, 1),
            Self::FedAdam { .. } => (2, 2),
            Self::FedAdagrad { .. } => (2, 3),
            Self::FedYogi { .. } => (2, 4),
            Self::FedDyn { .. } => (1, 5),
        }
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
