//! What a release says of a run's health, from released values alone.

use serde::{Deserialize, Serialize};

/// Releases in a row that are looked at.
pub const RELEASES_IN_A_ROW: usize = 3;
/// Fewest values whose noise has a norm that hardly varies: the relative deviation is 1 / sqrt(2 d).
const FEWEST_VALUES: usize = 2_000;

/// What one release says, in the units of the model's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Signs {
    /// L2 norm of the released mean update.
    pub step: f64,
    /// Norm of the noise that is expected in it; 0 without noise, absent where it can't be said.
    #[serde(default)]
    pub noise: Option<f64>,
    /// Cosine between this mean update and the one before; absent in the first round.
    #[serde(default)]
    pub turn: Option<f64>,
    /// L2 norm of the released model.
    pub model: f64,
    /// The clip of the round.
    pub clip: f64,
}

impl Signs {
    /// The signs of a release: its mean update, the one before, and the model that it made.
    pub fn of(
        step: &[f32],
        before: Option<&[f32]>,
        noise: Option<f64>,
        model: &[f32],
        clip: f32,
    ) -> Self {
        let norm = dot(step, step).sqrt();
        let turn = before
            .filter(|before| before.len() == step.len())
            .map(|before| dot(step, before) / (norm * dot(before, before).sqrt()));
        Self {
            step: norm,
            noise: noise.filter(|_| step.len() >= FEWEST_VALUES || noise == Some(0.0)),
            turn: turn.filter(|turn| turn.is_finite()),
            model: dot(model, model).sqrt(),
            clip: clip.into(),
        }
    }

    /// Adds the signs of the newest release to those that are kept: the first, and the last few.
    pub fn keep(releases: &mut Vec<Self>, newest: Self) {
        releases.push(newest);
        if releases.len() > RELEASES_IN_A_ROW + 1 {
            releases.remove(1);
        }
    }

    /// Norm of what is in the mean beside its noise.
    pub fn signal(&self) -> Option<f64> {
        let noise = self.noise?;
        Some((self.step * self.step - noise * noise).max(0.0).sqrt())
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
    products.sum()
}
