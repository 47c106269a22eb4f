//! Recipes of an audit in TOML.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

use super::AuditError;

/// Longest recipe in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// What an audit runs, and when it raises the alarm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditRecipe {
    /// `privacy_audit`: tells this recipe from others.
    pub kind: AuditKind,
    /// Title of the report.
    pub title: String,
    /// One sentence on what is audited; may be empty.
    #[serde(default)]
    pub description: String,
    /// Seed of what the auditor draws: payloads, coins and directions. Audited noise is never seeded,
    /// except where two runs must have the same.
    pub seed: u64,
    /// Probability that one statistical verdict on a right build is `fail`, in [1e-12, 0.01].
    pub false_alarm: f64,
    /// L2 clip C, a power of two, so that payloads on the grid are exact.
    pub clip: f32,
    /// Standard deviation z of the noise in clips, for noise and sensitivity.
    pub noise_multiplier: f64,
    /// Delta at which every epsilon is stated.
    pub delta: f64,
    /// The model that is released.
    pub model: ModelRecipe,
    /// Part 1: the law of the noise.
    pub noise: NoiseRecipe,
    /// Part 2: what one device changes.
    pub sensitivity: SensitivityRecipe,
    /// Part 3: what an attacker learns.
    pub canary: CanaryRecipe,
    /// Part 4: where an adaptive clip goes; left out when absent.
    #[serde(default)]
    pub adaptive: Option<AdaptiveRecipe>,
}

/// The only kind of recipe that this type reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditKind {
    /// The privacy audit.
    PrivacyAudit,
}

/// A perceptron with one hidden layer; what it learns does not matter, only how many values it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRecipe {
    /// Input values.
    pub features: usize,
    /// Hidden units.
    pub hidden: usize,
    /// Classes.
    pub classes: usize,
}

/// Part 1: the law of the noise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoiseRecipe {
    /// Mechanisms to audit.
    pub mechanisms: Vec<AuditedMechanism>,
    /// Devices per round.
    pub devices: usize,
    /// Rounds.
    pub rounds: u32,
    /// Participations that a device may have (k) where noise is correlated.
    pub max_participations: u32,
    /// Rounds from one participation of a device to its next (b) where noise is correlated.
    pub min_separation: u32,
}

/// A way to add noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditedMechanism {
    /// Fresh noise on the sum of every round.
    Independent,
    /// DP-FTRL with a buffered linear Toeplitz matrix.
    Blt,
    /// DP-FTRL with a binary tree.
    Tree,
    /// Fresh noise in units of a clip that moves.
    AdaptiveClip,
    /// Every device adds the noise itself.
    Local,
}

/// Part 2: what one device changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensitivityRecipe {
    /// Devices per round, the varied one included.
    pub devices: usize,
    /// Rounds.
    pub rounds: u32,
    /// Examples of the device that holds many; all others hold one.
    pub examples: usize,
}

/// Part 3: what an attacker learns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryRecipe {
    /// Canary devices, each included by a coin; no more than the model has parameters.
    pub canaries: usize,
    /// Rounds that every included one takes part in.
    pub rounds: u32,
    /// z of the run whose claim is put to the test.
    pub noise_multiplier: f64,
    /// How many times smaller the noise is that the attack must notice.
    pub shrink: f64,
    /// Confidence of the lower bounds, in [0.5, 0.999].
    pub confidence: f64,
    /// Numbers of guesses to try, as shares of the canaries; fixed before the run.
    pub guesses: Vec<f64>,
}

/// Part 4: where an adaptive clip goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdaptiveRecipe {
    /// Devices per round, one of which only shows the clip.
    pub devices: usize,
    /// Rounds.
    pub rounds: u32,
    /// First clips, in median norms.
    pub starts: Vec<f64>,
    /// Share of the updates that should be within the clip.
    pub quantile: f64,
    /// Step of the clip's logarithm.
    pub learning_rate: f64,
    /// Rounds that release while the clip is frozen, in the run that estimates it first; 0: no such
    /// run.
    pub frozen_rounds: u32,
}

impl AuditRecipe {
    /// True when `text` says that it is a recipe of an audit, whether or not it can be read.
    pub fn is_meant_by(text: &str) -> bool {
        /// The key that tells recipes apart; other keys are not looked at.
        #[derive(Deserialize)]
        struct Header {
            kind: AuditKind,
        }
        toml::from_str::<Header>(text).is_ok_and(|header| match header.kind {
            AuditKind::PrivacyAudit => true,
        })
    }

    /// Parses and checks a recipe.
    ///
    /// # Errors
    /// [`AuditError::Setting`] names the key and the remedy.
    pub fn from_toml(text: &str) -> Result<Self, AuditError> {
        if text.len() > MAX_BYTES {
            let problem = format!("has {} bytes", text.len());
            return Err(AuditError::setting("recipe", problem, "use at most 64 KiB"));
        }
        let recipe: Self = toml::from_str(text).map_err(|error| {
            AuditError::setting(
                "recipe",
                format!("can't be read: {error}"),
                "mend that line",
            )
        })?;
        recipe.check()?;
        Ok(recipe)
    }

    /// Checks what the types alone can't say.
    ///
    /// # Errors
    /// [`AuditError::Setting`] for the first value that makes no sense.
    pub fn check(&self) -> Result<(), AuditError> {
        within("false_alarm", self.false_alarm, 1e-12, 0.01)?;
        within("delta", self.delta, 1e-12, 0.1)?;
        within("clip", self.clip, 1.0 / 1024.0, 1024.0)?;
        if self.clip.to_bits() & 0x007f_ffff != 0 {
            let problem = format!("is {}", self.clip);
            return Err(AuditError::setting(
                "clip",
                problem,
                "use a power of two, such as 0.5",
            ));
        }
        within("noise_multiplier", self.noise_multiplier, 0.01, 100.0)?;
        within("model.features", self.model.features, 1, 4096)?;
        within("model.hidden", self.model.hidden, 1, 4096)?;
        within("model.classes", self.model.classes, 2, 4096)?;
        within("noise.devices", self.noise.devices, 1, 1000)?;
        within("noise.rounds", self.noise.rounds, 2, 64)?;
        within(
            "noise.max_participations",
            self.noise.max_participations,
            1,
            64,
        )?;
        within("noise.min_separation", self.noise.min_separation, 1, 64)?;
        within("sensitivity.devices", self.sensitivity.devices, 2, 1000)?;
        within("sensitivity.rounds", self.sensitivity.rounds, 1, 64)?;
        within(
            "sensitivity.examples",
            self.sensitivity.examples,
            2,
            100_000,
        )?;
        self.canary.check()?;
        self.adaptive.as_ref().map_or(Ok(()), AdaptiveRecipe::check)
    }
}

impl CanaryRecipe {
    fn check(&self) -> Result<(), AuditError> {
        within("canary.canaries", self.canaries, 8, 2000)?;
        within("canary.rounds", self.rounds, 1, 64)?;
        within("canary.noise_multiplier", self.noise_multiplier, 0.1, 100.0)?;
        within("canary.shrink", self.shrink, 2.0, 100.0)?;
        within("canary.confidence", self.confidence, 0.5, 0.999)?;
        within("canary.guesses", self.guesses.len(), 1, 16)?;
        let mut shares = self.guesses.iter();
        shares.try_for_each(|share| within("canary.guesses", *share, 0.01, 1.0))
    }
}

impl AdaptiveRecipe {
    fn check(&self) -> Result<(), AuditError> {
        within("adaptive.devices", self.devices, 8, 1000)?;
        within("adaptive.rounds", self.rounds, 12, 500)?;
        within("adaptive.starts", self.starts.len(), 1, 8)?;
        let mut starts = self.starts.iter();
        starts.try_for_each(|start| within("adaptive.starts", *start, 1e-3, 1e3))?;
        within("adaptive.quantile", self.quantile, 0.1, 0.9)?;
        within("adaptive.learning_rate", self.learning_rate, 0.01, 1.0)?;
        within("adaptive.frozen_rounds", self.frozen_rounds, 0, 64)
    }
}

/// Refuses a value outside a range.
fn within<N: PartialOrd + Display>(
    field: &str,
    value: N,
    least: N,
    most: N,
) -> Result<(), AuditError> {
    if value >= least && value <= most {
        return Ok(());
    }
    let remedy = format!("use {least} to {most}");
    Err(AuditError::setting(field, format!("is {value}"), remedy))
}

impl std::fmt::Display for AuditedMechanism {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Independent => "independent",
            Self::Blt => "blt",
            Self::Tree => "tree",
            Self::AdaptiveClip => "adaptive clip",
            Self::Local => "local",
        })
    }
}
