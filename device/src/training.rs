//! An encoded update, and why there is none.

use bytes::Bytes;
use tributary_aggregator::{FeedbackError, UnknownCodec, UpdateError};
use tributary_model::{Digest, ModelError};
use tributary_privacy::VectorError;
use tributary_proto::v1::ClipReport;

use crate::identity::IdentityError;

/// A finished update, ready to be sent any number of times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedUpdate {
    /// The run.
    pub run_id: String,
    /// The round, from 1.
    pub round: u32,
    /// Digest of the model version that the training started from.
    pub model_digest: String,
    /// Name of the codec.
    pub codec: String,
    /// Digest of the bytes.
    pub digest: Digest,
    /// The encoded payload.
    pub bytes: Bytes,
    /// Its weight in units of 2^-20; 0 stands for 1.
    pub weight: u64,
    /// Its weight times its number of steps, in units of 2^-20; FedNova only.
    pub work: u64,
    /// The cluster that was trained, an index into the assignment's models; IFCA only.
    pub cluster: u32,
    /// Whether the payload's norm was at most the clip before clipping; unspecified unless the plan asks.
    pub clip_report: ClipReport,
}

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
