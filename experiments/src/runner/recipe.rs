//! Recipes of experiments in TOML.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tributary_recipe::RunSpec;

use super::{RunnerError, Variant};

/// Longest recipe in bytes.
const MAX_BYTES: usize = 256 * 1024;
/// Most devices in one process.
const MAX_DEVICES: u32 = 20_000;
/// Most variants of one experiment.
const MAX_VARIANTS: usize = 32;
/// Most seeds of one experiment.
const MAX_SEEDS: usize = 16;

/// An experiment: data, how it is split over devices, and the run to do with them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentRecipe {
    /// Title of the report.
    pub title: String,
    /// One sentence on what is tried; may be empty.
    #[serde(default)]
    pub description: String,
    /// The data set.
    pub data: DataSource,
    /// The devices.
    pub fleet: FleetRecipe,
    /// Who holds which sample, in variants that don't say otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
    /// Runs every variant once with each of these seeds, of the split and of the run; at most 16.
    /// Default: once, with the run's own seed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<u64>,
    /// What is compared, one after the other.
    #[serde(rename = "variant")]
    pub variants: Vec<Variant>,
    /// The run, as given to the coordinator. With `run.seed` everything repeats to the bit.
    pub run: RunSpec,
}

/// Where samples come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "set", rename_all = "snake_case", deny_unknown_fields)]
pub enum DataSource {
    /// The compiled-in watch set, both arms, scaled by public constants.
    Watch {},
    /// The compiled-in digits.
    Digits {},
    /// MNIST or Fashion-MNIST from a folder of IDX files.
    Idx {
        /// The folder.
        folder: PathBuf,
    },
}

/// The devices of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetRecipe {
    /// Number of devices, 1 to 20,000; they are spread over `run.regions`.
    pub devices: u32,
    /// Probability in [0, 1] that a device drops out of a round.
    #[serde(default)]
    pub drop_out: f64,
}

/// Who holds which sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Partition {
    /// Every device looks like the whole.
    Iid {},
    /// Each device has its own mix of labels.
    Dirichlet {
        /// Concentration, above 0: 0.1 is very skewed, 100 is even.
        alpha: f64,
        /// Fewest samples of a device.
        #[serde(default = "one")]
        minimum: usize,
    },
    /// Each device holds a few samples of one natural user; users are spread over the devices in
    /// turn, and a region is a block of users.
    ByUser {
        /// Samples of a device.
        per_device: usize,
    },
}

fn one() -> usize {
    1
}

impl ExperimentRecipe {
    /// Parses and checks a recipe.
    ///
    /// # Errors
    /// [`RunnerError::Setting`] names the key and the remedy.
    pub fn from_toml(text: &str) -> Result<Self, RunnerError> {
        if text.len() > MAX_BYTES {
            let problem = format!("has {} bytes", text.len());
            return Err(RunnerError::setting(
                "recipe",
                problem,
                "use at most 256 KiB",
            ));
        }
        let recipe: Self = toml::from_str(text).map_err(|error| {
            RunnerError::setting(
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
    /// [`RunnerError::Setting`] for the first value that makes no sense.
    pub fn check(&self) -> Result<(), RunnerError> {
        let refuse = |wrong: bool, field: &str, problem: String, remedy: &str| {
            if wrong {
                Err(RunnerError::setting(field, problem, remedy))
            } else {
                Ok(())
            }
        };
        let devices = self.fleet.devices;
        let outside = devices == 0 || devices > MAX_DEVICES;
        refuse(
            outside,
            "fleet.devices",
            format!("is {devices}"),
            "use 1 to 20000",
        )?;
        let drop_out = self.fleet.drop_out;
        let outside = !(0.0..=1.0).contains(&drop_out);
        refuse(
            outside,
            "fleet.drop_out",
            format!("is {drop_out}"),
            "use 0 to 1",
        )?;
        let count = self.variants.len();
        let outside = count == 0 || count > MAX_VARIANTS;
        refuse(
            outside,
            "variant",
            format!("is there {count} times"),
            "write 1 to 32",
        )?;
        let mut seeds = self.seeds.clone();
        seeds.sort_unstable();
        let twice = seeds.windows(2).any(|pair| pair[0] == pair[1]);
        refuse(
            twice || seeds.len() > MAX_SEEDS || seeds.iter().any(|seed| *seed >= 1 << 63),
            "seeds",
            "names one twice, more than 16, or one of 2^63 or more".to_owned(),
            "name up to 16 different ones",
        )?;
        let mut names: Vec<&str> = self.variants.iter().map(|variant| &*variant.name).collect();
        names.sort_unstable();
        let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
        if let Some(pair) = twice {
            let problem = format!("{:?} is there twice", pair[0]);
            return Err(RunnerError::setting(
                "variant.name",
                problem,
                "name each once",
            ));
        }
        for variant in &self.variants {
            self.check_variant(variant)?;
        }
        Ok(())
    }

    fn check_variant(&self, variant: &Variant) -> Result<(), RunnerError> {
        let devices = self.fleet.devices;
        self.partition_of(variant)?;
        let spec = self.spec_of(variant, None)?;
        let population = spec.rounds.population();
        if population > devices {
            return Err(RunnerError::setting(
                "run.rounds.population",
                format!("is {population}, but the fleet has {devices} devices"),
                "lower it or run.rounds.cohort, or raise fleet.devices",
            ));
        }
        let liars = variant.attackers.map_or(0, |attackers| attackers.count);
        if liars > devices {
            return Err(RunnerError::setting(
                "variant.attackers.count",
                format!("is {liars}, but the fleet has {devices} devices"),
                "lower it",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = include_str!("../../recipes/digits-iid-dirichlet.toml");

    #[test]
    fn the_recipes_that_ship_can_be_read() {
        for text in [
            DIGITS,
            include_str!("../../recipes/watch-by-user.toml"),
            include_str!("../../recipes/digits-non-iid.toml"),
            include_str!("../../recipes/digits-personal.toml"),
            include_str!("../../recipes/digits-codecs.toml"),
            include_str!("../../recipes/digits-robust.toml"),
        ] {
            ExperimentRecipe::from_toml(text).unwrap();
        }
        RunSpec::from_toml(include_str!("../../recipes/quickstart.toml")).unwrap();
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_its_key() {
        for (from, to, field) in [
            ("devices = 120", "devices = 0", "fleet.devices"),
            ("devices = 120", "devices = 20", "run.rounds.population"),
            ("drop_out = 0.02", "drop_out = 1.5", "fleet.drop_out"),
            ("name = \"iid\"", "name = \"dirichlet 0.2\"", "variant.name"),
            ("set = \"digits\"", "set = \"weather\"", "recipe"),
            ("set = \"digits\"", "set = \"digits\"\ncolour = 1", "recipe"),
            ("cohort = 60", "cohort = 0", "variant \"iid\" is refused"),
        ] {
            assert!(DIGITS.contains(from), "{from}");
            let error = ExperimentRecipe::from_toml(&DIGITS.replacen(from, to, 1)).unwrap_err();
            assert!(error.to_string().starts_with(field), "{to}: {error}");
        }
    }
}
