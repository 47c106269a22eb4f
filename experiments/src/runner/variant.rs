//! What is compared: the recipe's run with some of its keys, its split or its devices changed.

use serde::{Deserialize, Serialize};
use toml::{Table, Value};
use tributary_device_sim::Fault;
use tributary_recipe::RunSpec;

use super::{ExperimentRecipe, Partition, RunnerError};

/// One of the things that are compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Name in the report.
    pub name: String,
    /// Who holds which sample; default the recipe's `partition`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
    /// Devices that lie; default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attackers: Option<Attackers>,
    /// Keys of the run that are different here, for example `training.algorithm`. A table with a
    /// `kind` replaces the recipe's as a whole, other tables key by key.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub run: Table,
}

/// Devices that lie over the real wire. Each knows its own data only; what attackers reach who know
/// the honest updates is the attack laboratory's question.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attackers {
    /// How many of the devices, spread evenly over the fleet.
    pub count: u32,
    /// What they do.
    pub attack: Attack,
}

/// What a lying device sends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Attack {
    /// The opposite of its update.
    SignFlip {},
    /// Its update times a factor, as far as the clip lets it.
    Scale {
        /// The factor, finite.
        factor: f32,
    },
    /// What it learns from the labels `classes - 1 - y`.
    LabelFlip {},
    /// Minus tau times its update.
    Ipm {
        /// Strength, finite and above 0.
        tau: f32,
    },
    /// A value that is not a number.
    Nan {},
    /// A norm far above the clip.
    Huge {},
}

impl Attack {
    /// The fault of a simulated device.
    pub fn fault(self) -> Fault {
        match self {
            Self::SignFlip {} => Fault::SignFlip,
            Self::Scale { factor } => Fault::Scale { factor },
            Self::LabelFlip {} => Fault::LabelFlip,
            Self::Ipm { tau } => Fault::Ipm { tau },
            Self::Nan {} => Fault::Nan,
            Self::Huge {} => Fault::Huge,
        }
    }
}

impl Attackers {
    /// What device `number` of `devices` does: every k-th one lies.
    pub fn fault(&self, number: usize, devices: usize) -> Option<Fault> {
        let (count, devices) = (self.count as usize, devices.max(1));
        let lies = (number + 1) * count / devices > number * count / devices;
        lies.then(|| self.attack.fault())
    }
}

impl ExperimentRecipe {
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

    fn recipe() -> ExperimentRecipe {
        let text = include_str!("../../recipes/digits-iid-dirichlet.toml");
        ExperimentRecipe::from_toml(text).unwrap()
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

    #[test]
    fn attackers_are_as_many_as_asked_and_spread_over_the_fleet() {
        for (count, devices) in [(0, 20), (4, 20), (6, 20), (20, 20), (1, 7)] {
            let attackers = Attackers {
                count,
                attack: Attack::SignFlip {},
            };
            let lies = |number: &usize| attackers.fault(*number, devices).is_some();
            let liars: Vec<usize> = (0..devices).filter(lies).collect();
            assert_eq!(liars.len(), count as usize);
            if let [first, second, ..] = liars[..] {
                assert!(second - first <= devices.div_ceil(count as usize));
            }
        }
    }
}
