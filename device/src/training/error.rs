//! Why there is no update.

use tributary_aggregator::{FeedbackError, UnknownCodec, UpdateError};
use tributary_model::ModelError;
use tributary_privacy::VectorError;

use crate::state::identity::IdentityError;

/// Why there is no update.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// The plan can't be followed.
    #[error("plan field {field} {problem}; the recipe of the run must be corrected")]
    Plan {
        /// Field of the plan.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The codec is not known to this device.
    #[error(transparent)]
    Codec(#[from] UnknownCodec),
    /// The model or the data does not fit, or training diverged.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The payload can't be clipped or noised.
    #[error(transparent)]
    Vector(#[from] VectorError),
    /// What was encoded can't be read back.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// The payload can't be joined with what earlier ones left out.
    #[error(transparent)]
    Feedback(#[from] FeedbackError),
    /// No randomness.
    #[error(transparent)]
    Randomness(#[from] IdentityError),
    /// The answer was due before the training was done.
    #[error("the answer is due; lengthen privacy.answer_window_ms or train for fewer epochs")]
    Late,
}

impl TrainingError {
    /// A field of the plan that can't be followed.
    pub(crate) fn plan(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Plan {
            field,
            problem: problem.into(),
        }
    }

    /// Ranges that the model crate checks are fields of the plan here.
    pub(crate) fn in_plan(error: ModelError) -> Self {
        match error {
            ModelError::Training { field, rule, value } => {
                Self::plan(field, format!("{rule}, got {value}"))
            }
            other => Self::Model(other),
        }
    }

    /// The word under which it is counted.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Plan { .. } => "bad_plan",
            Self::Codec(_) => "unknown_codec",
            Self::Model(_) => "model",
            Self::Vector(_) | Self::Update(_) => "clip",
            Self::Feedback(_) => "feedback",
            Self::Randomness(_) => "randomness",
            Self::Late => "late",
        }
    }
}
