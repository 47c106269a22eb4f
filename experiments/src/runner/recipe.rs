//! Recipes of experiments in TOML.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};
use tributary_recipe::RunSpec;

use super::{Partition, RunnerError, Variant};

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
        self.check_fleet()?;
        let count = self.variants.len();
        let outside = count == 0 || count > MAX_VARIANTS;
        let problem = format!("is there {count} times");
        refuse_if(outside, "variant", problem, "write 1 to 32")?;
        self.check_seeds()?;
        self.check_names()?;
        let mut variants = self.variants.iter();
        variants.try_for_each(|variant| self.check_variant(variant))
    }

    fn check_fleet(&self) -> Result<(), RunnerError> {
        let devices = self.fleet.devices;
        let outside = devices == 0 || devices > MAX_DEVICES;
        let problem = format!("is {devices}");
        refuse_if(outside, "fleet.devices", problem, "use 1 to 20000")?;
        let drop_out = self.fleet.drop_out;
        let outside = !(0.0..=1.0).contains(&drop_out);
        let problem = format!("is {drop_out}");
        refuse_if(outside, "fleet.drop_out", problem, "use 0 to 1")
    }

    fn check_seeds(&self) -> Result<(), RunnerError> {
        let mut seeds = self.seeds.clone();
        seeds.sort_unstable();
        let twice = seeds.windows(2).any(|pair| pair[0] == pair[1]);
        refuse_if(
            twice || seeds.len() > MAX_SEEDS || seeds.iter().any(|seed| *seed >= 1 << 63),
            "seeds",
            "names one twice, more than 16, or one of 2^63 or more".to_owned(),
            "name up to 16 different ones",
        )
    }

    fn check_names(&self) -> Result<(), RunnerError> {
        let mut names: Vec<&str> = self.variants.iter().map(|variant| &*variant.name).collect();
        names.sort_unstable();
        let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) else {
            return Ok(());
        };
        let problem = format!("{:?} is there twice", pair[0]);
        refuse_if(true, "variant.name", problem, "name each once")
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

    /// The run of a variant under a seed; the recipe's own seed when there is none.
    ///
    /// # Errors
    /// [`RunnerError::Setting`] names the variant and the key.
    pub fn spec_of(&self, variant: &Variant, seed: Option<u64>) -> Result<RunSpec, RunnerError> {
        let refused = |error: String| {
            let field = format!("variant {:?}", variant.name);
            RunnerError::setting(field, format!("is refused: {error}"), "mend its run")
        };
        let mut table = Table::try_from(&self.run).map_err(|error| refused(error.to_string()))?;
        merge(&mut table, &variant.run);
        let mut spec: RunSpec = table
            .try_into()
            .map_err(|error: toml::de::Error| refused(error.to_string()))?;
        spec.seed = seed.or(spec.seed);
        spec.check().map_err(|error| refused(error.to_string()))?;
        Ok(spec)
    }

    /// The split of a variant.
    ///
    /// # Errors
    /// [`RunnerError::Setting`] when neither it nor the recipe names one.
    pub fn partition_of<'r>(&'r self, variant: &'r Variant) -> Result<&'r Partition, RunnerError> {
        let partition = variant.partition.as_ref().or(self.partition.as_ref());
        partition.ok_or_else(|| {
            RunnerError::setting(
                format!("variant {:?}", variant.name),
                "has no partition, and the recipe has none for all",
                "add partition = { kind = \"iid\" } to one of them",
            )
        })
    }

    /// The seeds that every variant runs with: `seeds`, or the run's own.
    pub fn seeds(&self) -> Vec<Option<u64>> {
        if self.seeds.is_empty() {
            return vec![self.run.seed];
        }
        self.seeds.iter().copied().map(Some).collect()
    }

    /// Whether the runs repeat to the bit.
    pub(crate) fn is_seeded(&self) -> bool {
        self.run.is_seeded() || !self.seeds.is_empty()
    }
}

/// Names a key and the remedy where something is wrong.
fn refuse_if(
    is_wrong: bool,
    field: &str,
    problem: String,
    remedy: &str,
) -> Result<(), RunnerError> {
    match is_wrong {
        true => Err(RunnerError::setting(field, problem, remedy)),
        false => Ok(()),
    }
}

/// Puts the keys of `changes` over those of `base`.
fn merge(base: &mut Table, changes: &Table) {
    for (key, change) in changes {
        match (base.get_mut(key), change) {
            (Some(Value::Table(old)), Value::Table(new)) if !new.contains_key("kind") => {
                merge(old, new);
            }
            _ => {
                base.insert(key.clone(), change.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tributary_model::LocalAlgorithm;

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

    fn recipe() -> ExperimentRecipe {
        ExperimentRecipe::from_toml(DIGITS).unwrap()
    }

    fn variant(run: &str) -> Variant {
        Variant {
            name: "changed".to_owned(),
            partition: None,
            attackers: None,
            run: toml::from_str(run).unwrap(),
        }
    }

    #[test]
    fn a_variant_changes_the_keys_that_it_names_and_no_others() {
        let recipe = recipe();
        let changed = variant(
            "training.algorithm = { kind = 'fedprox', mu = 0.5 }\n\
             server.optimiser = { kind = 'fedavgm', learning_rate = 0.5, momentum = 0.1 }",
        );
        let spec = recipe.spec_of(&changed, Some(9)).unwrap();
        assert_eq!(spec.training.algorithm, LocalAlgorithm::FedProx { mu: 0.5 });
        assert_eq!(spec.training.epochs, recipe.run.training.epochs);
        assert_eq!(
            (spec.seed, spec.server.optimiser.name()),
            (Some(9), "fedavgm")
        );
    }

    #[test]
    fn a_variant_whose_run_makes_no_sense_is_named() {
        for run in [
            "training.epochs = 0",
            "training.colour = 1",
            "rounds = 3",
            "aggregation.rule = { kind = 'median' }",
        ] {
            let error = recipe().spec_of(&variant(run), None).unwrap_err();
            assert!(
                error.to_string().starts_with("variant \"changed\""),
                "{error}"
            );
        }
    }
}
