//! How a device trains, and what came of it.

use serde::{Deserialize, Serialize};

use crate::ModelError;

/// Most passes over the data in one call.
pub const MAX_EPOCHS: u32 = 10_000;

/// How a device trains on its own data: plain stochastic gradient descent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalTraining {
    /// Passes over the data, 1 to [`MAX_EPOCHS`].
    pub epochs: u32,
    /// Examples per step, at least 1; the last step of a pass takes what is left.
    pub batch_size: u32,
    /// Step size, finite and above 0.
    pub learning_rate: f32,
    /// Most steps in all; 0 when the epochs alone decide.
    #[serde(default)]
    pub max_steps: u32,
}

impl LocalTraining {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`ModelError::Training`] names the first field that is out of range.
    pub fn check(&self) -> Result<(), ModelError> {
        let wrong = |field, rule, value: String| Err(ModelError::Training { field, rule, value });
        if self.epochs == 0 || self.epochs > MAX_EPOCHS {
            return wrong("epochs", "must be 1 to 10000", self.epochs.to_string());
        }
        if self.batch_size == 0 {
            return wrong(
                "batch_size",
                "must be at least 1",
                self.batch_size.to_string(),
            );
        }
        if !self.learning_rate.is_finite() || self.learning_rate <= 0.0 {
            let value = self.learning_rate.to_string();
            return wrong("learning_rate", "must be finite and above 0", value);
        }
        Ok(())
    }
}

/// What a training did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainReport {
    /// Steps taken.
    pub steps: u64,
    /// Examples seen, counting repeats.
    pub examples: u64,
    /// Mean cross-entropy (nats) of the first batch, before any step.
    pub first_loss: f32,
    /// Mean cross-entropy (nats) of the last batch, before its step.
    pub last_loss: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_name_their_field() {
        let good = LocalTraining {
            epochs: 1,
            batch_size: 8,
            learning_rate: 0.1,
            max_steps: 0,
        };
        assert!(good.check().is_ok());
        let cases = [
            (LocalTraining { epochs: 0, ..good }, "epochs"),
            (
                LocalTraining {
                    epochs: MAX_EPOCHS + 1,
                    ..good
                },
                "epochs",
            ),
            (
                LocalTraining {
                    batch_size: 0,
                    ..good
                },
                "batch_size",
            ),
            (
                LocalTraining {
                    learning_rate: 0.0,
                    ..good
                },
                "learning_rate",
            ),
            (
                LocalTraining {
                    learning_rate: f32::NAN,
                    ..good
                },
                "learning_rate",
            ),
            (
                LocalTraining {
                    learning_rate: f32::INFINITY,
                    ..good
                },
                "learning_rate",
            ),
        ];
        for (settings, expected) in cases {
            let error = settings.check().unwrap_err();
            assert!(matches!(error, ModelError::Training { field, .. } if field == expected));
        }
    }
}
