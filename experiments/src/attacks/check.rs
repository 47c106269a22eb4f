//! What the types of a recipe alone can't say.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::{Attack, AttackError, AttackRecipe, Split, Training};

/// Longest recipe in bytes.
const MAX_BYTES: usize = 256 * 1024;
/// Most entries of any list.
const MAX_ENTRIES: usize = 32;
/// Most devices: each needs samples of its own.
const MAX_DEVICES: u32 = 200;
/// Most rounds.
const MAX_ROUNDS: u32 = 10_000;
/// Samples that are dealt to devices.
pub(super) const TRAINING_SAMPLES: usize = 1400;

impl AttackRecipe {
    /// Parses and checks a recipe.
    ///
    /// # Errors
    /// [`AttackError::Setting`] names the key and the remedy.
    pub fn from_toml(text: &str) -> Result<Self, AttackError> {
        if text.len() > MAX_BYTES {
            let problem = format!("has {} bytes", text.len());
            return Err(AttackError::setting(
                "recipe",
                problem,
                "use at most 256 KiB",
            ));
        }
        let recipe: Self = toml::from_str(text).map_err(|error| {
            AttackError::setting(
                "recipe",
                format!("can't be read: {error}"),
                "mend that line",
            )
        })?;
        recipe.check()?;
        Ok(recipe)
    }

    /// Checks what the types alone can't say. Pipelines that bear fewer bad devices than asked are
    /// no error: the outcome says so in their place.
    ///
    /// # Errors
    /// [`AttackError::Setting`] for the first value that makes no sense.
    pub fn check(&self) -> Result<(), AttackError> {
        within("devices", self.devices, 3, MAX_DEVICES)?;
        within("rounds", self.rounds, 1, MAX_ROUNDS)?;
        distinct("seeds", &self.seeds)?;
        distinct("byzantine", &self.byzantine)?;
        distinct("splits", &self.splits)?;
        distinct("attacks", &self.attacks)?;
        distinct("pipelines", &self.pipelines)?;
        for &byzantine in &self.byzantine {
            within("byzantine", byzantine, 0, self.devices - 1)?;
        }
        above_zero("clip", f64::from(self.clip), 1e-12, 1e12)?;
        self.training.check()?;
        for split in &self.splits {
            split.check(self.devices as usize)?;
        }
        self.attacks.iter().try_for_each(Attack::check)?;
        for pipeline in &self.pipelines {
            // without bad devices only constants and order can be wrong
            let checked = pipeline.against(0).check(MAX_DEVICES as usize);
            checked.map_err(|error| {
                let problem = format!("has {pipeline}: {error}");
                AttackError::setting("pipelines", problem, "mend or remove it")
            })?;
        }
        Ok(())
    }
}

impl Training {
    fn check(&self) -> Result<(), AttackError> {
        within(
            "training.batch_size",
            self.batch_size,
            1,
            TRAINING_SAMPLES as u32,
        )?;
        if !(0.0..1.0).contains(&self.momentum) {
            let problem = format!("is {}", self.momentum);
            let remedy = "use 0 or more and less than 1";
            return Err(AttackError::setting("training.momentum", problem, remedy));
        }
        above_zero(
            "training.learning_rate",
            f64::from(self.learning_rate),
            1e-9,
            1e3,
        )
    }
}

impl Split {
    fn check(&self, devices: usize) -> Result<(), AttackError> {
        let Self::Dirichlet { alpha, minimum } = *self else {
            return Ok(());
        };
        above_zero("splits.alpha", alpha, 1e-3, 1e6)?;
        within("splits.minimum", minimum, 1, TRAINING_SAMPLES / devices)
    }
}

impl Attack {
    fn check(&self) -> Result<(), AttackError> {
        match *self {
            Self::Ipm { tau } | Self::Foe { tau } => {
                above_zero("attacks.tau", f64::from(tau), 1e-6, 1e6)
            }
            Self::Alie { z } => above_zero("attacks.z", f64::from(z), 1e-6, 1e6),
            _ => Ok(()),
        }
    }
}

fn within<N: PartialOrd + Display>(
    field: &str,
    value: N,
    least: N,
    most: N,
) -> Result<(), AttackError> {
    if value >= least && value <= most {
        return Ok(());
    }
    let remedy = format!("use {least} to {most}");
    Err(AttackError::setting(field, format!("is {value}"), remedy))
}

fn above_zero(field: &str, value: f64, least: f64, most: f64) -> Result<(), AttackError> {
    within(field, value, least, most)
}

/// Lists are neither empty nor long, and name nothing twice.
fn distinct<T: Display>(field: &str, entries: &[T]) -> Result<(), AttackError> {
    let count = entries.len();
    if count == 0 || count > MAX_ENTRIES {
        let problem = format!("has {count} entries");
        return Err(AttackError::setting(field, problem, "use 1 to 32"));
    }
    let mut names = BTreeSet::new();
    for entry in entries {
        let name = entry.to_string();
        if names.contains(&name) {
            let problem = format!("has {name} twice");
            return Err(AttackError::setting(field, problem, "name each once"));
        }
        names.insert(name);
    }
    Ok(())
}
