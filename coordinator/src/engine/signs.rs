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
    /// Values that the noise is on, the dimension of both norms; absent where the noise is.
    #[serde(default)]
    pub values: Option<u64>,
    /// L2 norm of the released model.
    pub model: f64,
    /// The clip of the round.
    pub clip: f64,
}

/// The noise that is expected in a mean update: independent and the same on each value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noise {
    /// Standard deviation of each value, in the units of the model's parameters.
    pub deviation: f64,
    /// Values that it is on.
    pub values: usize,
}

impl Noise {
    /// The norm that is expected of it.
    fn norm(&self) -> f64 {
        self.deviation * (self.values as f64).sqrt()
    }
}

impl Signs {
    /// The signs of a release: its mean update, the one before, and the model that it made.
    pub fn of(
        step: &[f32],
        before: Option<&[f32]>,
        noise: Option<Noise>,
        model: &[f32],
        clip: f32,
    ) -> Self {
        let is_known = |noise: &Noise| {
            let holds_it = noise.values <= step.len();
            noise.deviation == 0.0 || holds_it && noise.values >= FEWEST_VALUES
        };
        let noise = noise.filter(is_known);
        let norm = dot(step, step).sqrt();
        let turn = before
            .filter(|before| before.len() == step.len())
            .map(|before| dot(step, before) / (norm * dot(before, before).sqrt()));
        Self {
            step: norm,
            noise: noise.map(|noise| noise.norm()),
            values: noise.map(|noise| noise.values as u64),
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
