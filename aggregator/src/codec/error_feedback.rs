//! What a lossy codec left out is sent later.

use std::fmt;

use crate::clip::{ClipReport, clip_l2};
use crate::error::UpdateError;

/// The memory of a device that sends with a biased codec such as top-k (error feedback: Seide et
/// al. 2014; Stich et al. 2018, algorithm 1).
///
/// With residual e, the device forms x = delta + e, sends a compressed x, and keeps e = x - sent.
/// What was sent over many rounds and the residual then add up to the sum of the deltas.
///
/// `sent` is what the receiver decodes, so whatever a clip cut off stays in the residual too. Under
/// a clip that binds in every round the residual grows without end: [`ErrorFeedback::limit`] ends
/// that, at the price of what it cuts. The residual is as private as the data of the device and
/// never leaves it; `Debug` shows no value.
#[derive(Clone, PartialEq)]
pub struct ErrorFeedback {
    residual: Vec<f32>,
}

/// Why a vector can't be used with a residual.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FeedbackError {
    /// The number of values differs from that of the residual.
    #[error(
        "residual has {expected} values, the vector {actual}; start a new residual for a new layout"
    )]
    DimensionMismatch {
        /// Values of the residual.
        expected: usize,
        /// Values of the vector.
        actual: usize,
    },
    /// A value is NaN or infinite, or the new residual would be.
    #[error("value {index} of the vector or its residual is not finite; drop the broken batch")]
    NotFinite {
        /// Position of the first offending value.
        index: usize,
    },
}

impl ErrorFeedback {
    /// No residual yet, for vectors of `dimension` values.
    pub fn new(dimension: usize) -> Self {
        Self {
            residual: vec![0.0; dimension],
        }
    }

    /// The residual that an earlier [`ErrorFeedback::residual`] gave.
    ///
    /// # Errors
    /// [`FeedbackError::NotFinite`].
    pub fn from_residual(residual: Vec<f32>) -> Result<Self, FeedbackError> {
        refuse_non_finite(residual.iter())?;
        Ok(Self { residual })
    }

    /// What is still to be sent, one value per parameter, all finite.
    pub fn residual(&self) -> &[f32] {
        &self.residual
    }

    /// x = delta + residual: what is to be encoded.
    ///
    /// # Errors
    /// [`FeedbackError::DimensionMismatch`], [`FeedbackError::NotFinite`].
    pub fn compensate(&self, delta: &[f32]) -> Result<Vec<f32>, FeedbackError> {
        self.check_dimension(delta.len())?;
        let pairs = delta.iter().zip(&self.residual);
        let compensated: Vec<f32> = pairs.map(|(delta, residual)| delta + residual).collect();
        refuse_non_finite(compensated.iter())?;
        Ok(compensated)
    }

    /// residual = x - sent, where `sent` is what the receiver decodes. To be called once the bytes
    /// are accepted: an update that was never summed must stay in the residual as it was.
    ///
    /// # Errors
    /// [`FeedbackError::DimensionMismatch`], [`FeedbackError::NotFinite`]; the residual is then
    /// unchanged.
    pub fn settle(&mut self, compensated: &[f32], sent: &[f32]) -> Result<(), FeedbackError> {
        self.check_dimension(compensated.len())?;
        self.check_dimension(sent.len())?;
        let differences = compensated.iter().zip(sent).map(|(x, sent)| x - sent);
        if let Some(index) = differences.clone().position(|value| !value.is_finite()) {
            return Err(FeedbackError::NotFinite { index });
        }
        for (residual, difference) in self.residual.iter_mut().zip(differences) {
            *residual = difference;
        }
        Ok(())
    }

    /// Scales the residual to an L2 norm of at most `norm`, dropping the rest for good.
    ///
    /// # Errors
    /// [`UpdateError::BadClip`] unless `norm` is in [1e-12, 1e12].
    pub fn limit(&mut self, norm: f32) -> Result<ClipReport, UpdateError> {
        clip_l2(&mut self.residual, norm)
    }

    fn check_dimension(&self, actual: usize) -> Result<(), FeedbackError> {
        let expected = self.residual.len();
        if actual == expected {
            return Ok(());
        }
        Err(FeedbackError::DimensionMismatch { expected, actual })
    }
}

fn refuse_non_finite<'a>(values: impl Iterator<Item = &'a f32>) -> Result<(), FeedbackError> {
    let mut values = values;
    match values.position(|value| !value.is_finite()) {
        Some(index) => Err(FeedbackError::NotFinite { index }),
        None => Ok(()),
    }
}

impl fmt::Debug for ErrorFeedback {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ErrorFeedback({} values)", self.residual.len())
    }
}
