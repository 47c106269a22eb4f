//! What a lossy codec left out is sent later.

use std::fmt;

use tributary_privacy::{ClipReport, VectorError, clip_l2};

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
    /// [`VectorError::BadClip`] unless `norm` is in [1e-12, 1e12].
    pub fn limit(&mut self, norm: f32) -> Result<ClipReport, VectorError> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;
    use crate::Codec;

    fn decoded(codec: Codec, bytes: &[u8], dimension: usize) -> Vec<f32> {
        let mut values = vec![0.0; dimension];
        codec.decode_into(bytes, &mut values).unwrap();
        values
    }

    #[test]
    fn a_refused_vector_leaves_the_residual_as_it_was() {
        let mut feedback = ErrorFeedback::from_residual(vec![1.0, 2.0]).unwrap();
        let not_finite = Err(FeedbackError::NotFinite { index: 1 });
        assert_eq!(
            feedback.compensate(&[0.0, f32::NAN]),
            Err(FeedbackError::NotFinite { index: 1 })
        );
        assert_eq!(
            feedback.settle(&[0.0, f32::INFINITY], &[0.0, 0.0]),
            not_finite
        );
        assert_eq!(
            feedback.settle(&[0.0, f32::MAX], &[0.0, f32::MIN]),
            not_finite
        );
        let mismatch = FeedbackError::DimensionMismatch {
            expected: 2,
            actual: 3,
        };
        assert_eq!(feedback.settle(&[0.0; 2], &[0.0; 3]), Err(mismatch.clone()));
        assert_eq!(feedback.compensate(&[0.0; 3]), Err(mismatch));
        assert_eq!(feedback.residual(), [1.0, 2.0]);
        assert!(ErrorFeedback::from_residual(vec![f32::NAN]).is_err());
    }

    #[test]
    fn a_limit_shortens_the_residual_and_keeps_its_direction() {
        let mut feedback = ErrorFeedback::from_residual(vec![3.0, 4.0]).unwrap();
        feedback.limit(1.0).unwrap();
        let [x, y] = feedback.residual() else {
            panic!("two values")
        };
        assert!((x - 0.6).abs() < 1e-6 && (y - 0.8).abs() < 1e-6);
        assert!(feedback.limit(f32::NAN).is_err());
    }

    #[test]
    fn debug_output_shows_no_value() {
        let feedback = ErrorFeedback::from_residual(vec![42.5]).unwrap();
        assert_eq!(format!("{feedback:?}"), "ErrorFeedback(1 values)");
    }

    proptest! {
        #[test]
        fn what_was_sent_and_the_residual_add_up_to_the_deltas(
            deltas in prop::collection::vec(prop::collection::vec(-1.0f32..1.0, 64), 1..30),
            millionths in 10_000u32..500_000,
            seed in any::<u64>(),
        ) {
            let mut noise = ChaCha20Rng::seed_from_u64(seed);
            let codec: Codec = format!("topk:{:.6}", f64::from(millionths) / 1e6).parse().unwrap();
            let mut feedback = ErrorFeedback::new(64);
            let mut sum = [0.0f64; 64];
            for delta in &deltas {
                let compensated = feedback.compensate(delta).unwrap();
                let bytes = codec.encode_clipped(&compensated, 3.0, &mut noise).unwrap();
                let sent = decoded(codec, &bytes, 64);
                feedback.settle(&compensated, &sent).unwrap();
                for ((sum, sent), delta) in sum.iter_mut().zip(&sent).zip(delta) {
                    *sum += f64::from(*sent) - f64::from(*delta);
                }
            }
            for (sum, &residual) in sum.iter().zip(feedback.residual()) {
                prop_assert!(residual.is_finite());
                prop_assert!((sum + f64::from(residual)).abs() < 1e-4);
            }
        }

        #[test]
        fn without_a_clip_the_residual_stays_bounded(
            share in 0.05f64..1.0,
            seed in any::<u64>(),
        ) {
            // Stich et al. 2018, lemma 3.2 with a constant step: for ||delta|| <= G and a share s,
            // ||e||^2 <= 4 (1 - s) / s^2 G^2; half precision adds a little
            let mut noise = ChaCha20Rng::seed_from_u64(seed);
            let codec: Codec = format!("topk:{share:.6}").parse().unwrap();
            let kept = f64::from((64.0 * share).round().max(1.0) as u32) / 64.0;
            let mut feedback = ErrorFeedback::new(64);
            for _ in 0..100 {
                let mut delta: Vec<f32> = (0..64)
                    .map(|_| rand_core::Rng::next_u32(&mut noise) as f32 / u32::MAX as f32)
                    .collect();
                clip_l2(&mut delta, 1.0).unwrap();
                let compensated = feedback.compensate(&delta).unwrap();
                let sent = decoded(codec, &codec.encode(&compensated, &mut noise), 64);
                feedback.settle(&compensated, &sent).unwrap();
            }
            let square: f64 = feedback.residual().iter().map(|&e| f64::from(e).powi(2)).sum();
            prop_assert!(square <= 4.0 * (1.0 - kept) / kept.powi(2) + 1e-3, "{square}");
        }
    }
}
