//! How the channels of the watch set are brought to a common scale.

use serde::{Deserialize, Serialize};

/// Sensor channels of the watch set: acceleration x y z, angular velocity x y z.
pub const CHANNELS: usize = 6;

/// What channels are shifted and scaled by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalisation {
    /// Mean and deviation of the right arms' training windows. These are statistics of the
    /// devices' data: under differential privacy they would have to be paid for.
    #[default]
    Training,
    /// Constants that depend on no data: nothing is subtracted, acceleration is divided by
    /// 0.5 and angular velocity by 1.0 of the sensor's units, and values are limited to
    /// [-[`PUBLIC_LIMIT`], [`PUBLIC_LIMIT`]].
    Public,
}

/// Largest magnitude of an input under [`Normalisation::Public`].
pub const PUBLIC_LIMIT: f64 = 4.0;
/// Divisors of acceleration x y z and angular velocity x y z under [`Normalisation::Public`].
const PUBLIC_SCALE: [f64; CHANNELS] = [0.5, 0.5, 0.5, 1.0, 1.0, 1.0];

/// Shift, scale and limit of each channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ChannelScale {
    mean: [f64; CHANNELS],
    deviation: [f64; CHANNELS],
    limit: f64,
}

impl ChannelScale {
    /// The constants of [`Normalisation::Public`].
    pub(super) fn public() -> Self {
        ChannelScale {
            mean: [0.0; CHANNELS],
            deviation: PUBLIC_SCALE,
            limit: PUBLIC_LIMIT,
        }
    }

    /// Mean and deviation of each channel over all steps of `windows`, each `[steps, CHANNELS]`.
    /// A step counts once per window that it is in.
    pub(super) fn of<'a>(windows: impl Iterator<Item = &'a [f32]>) -> Self {
        let mut count = 0f64;
        let mut sum = [0f64; CHANNELS];
        let mut squares = [0f64; CHANNELS];
        for steps in windows {
            for step in steps.as_chunks::<CHANNELS>().0 {
                count += 1.0;
                for (channel, &value) in step.iter().enumerate() {
                    sum[channel] += f64::from(value);
                    squares[channel] += f64::from(value) * f64::from(value);
                }
            }
        }
        let count = count.max(1.0);
        let mean = sum.map(|sum| sum / count);
        let mut deviation = [1f64; CHANNELS];
        for channel in 0..CHANNELS {
            let variance = squares[channel] / count - mean[channel] * mean[channel];
            // a constant channel stays zero instead of being blown up
            if variance > 1e-12 {
                deviation[channel] = variance.sqrt();
            }
        }
        ChannelScale {
            mean,
            deviation,
            limit: f64::INFINITY,
        }
    }

    /// Appends one window, `[steps, CHANNELS]` in, `[CHANNELS, steps / pool]` out.
    pub(super) fn push_window(&self, steps: &[f32], pool: usize, inputs: &mut Vec<f32>) {
        for channel in 0..CHANNELS {
            for group in steps.chunks_exact(pool * CHANNELS) {
                let values = group.iter().skip(channel).step_by(CHANNELS);
                let mean = values.map(|&value| f64::from(value)).sum::<f64>() / pool as f64;
                let scaled = (mean - self.mean[channel]) / self.deviation[channel];
                inputs.push(scaled.clamp(-self.limit, self.limit) as f32);
            }
        }
    }
}
