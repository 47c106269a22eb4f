//! What is compared: the recipe's run with some of its keys, its split or its devices changed.

use serde::{Deserialize, Serialize};
use toml::Table;
use tributary_device_sim::Fault;

use super::Partition;

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

#[cfg(test)]
mod tests {
    use super::*;

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
