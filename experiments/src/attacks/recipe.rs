//! Recipes of the attack laboratory in TOML.

use std::fmt;

use serde::{Deserialize, Serialize};
use tributary_aggregator::{Codec, PreAggregator, RobustRule, RobustSpec};

/// What the laboratory tries: every pipeline against every attack, for every number of bad devices,
/// every split and every seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttackRecipe {
    /// `attack_laboratory`: tells this recipe from one of runs.
    pub kind: RecipeKind,
    /// Title of the report.
    pub title: String,
    /// One sentence on what is tried; may be empty.
    #[serde(default)]
    pub description: String,
    /// Seeds, each repeats everything with other data splits and weights; results are means.
    pub seeds: Vec<u64>,
    /// Devices, honest and bad, 3 to 200.
    pub devices: u32,
    /// Numbers of bad devices; the rules are told the number (f).
    pub byzantine: Vec<u32>,
    /// Rounds of training, 1 to 10,000.
    pub rounds: u32,
    /// How devices and server train.
    pub training: Training,
    /// L2 clip of an update: devices keep to it and the server refuses what is longer.
    pub clip: f32,
    /// Encoding of updates.
    pub codec: Codec,
    /// Splits of the data over the devices.
    pub splits: Vec<Split>,
    /// What bad devices do.
    pub attacks: Vec<Attack>,
    /// What the server does.
    pub pipelines: Vec<Pipeline>,
}

/// The only kind of recipe that this type reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecipeKind {
    /// The attack laboratory.
    AttackLaboratory,
}

/// Training with momentum on the devices: m <- momentum m + (1 - momentum) g on a batch, m is sent,
/// and the server steps by w <- w - learning_rate R(m_1, ..., m_n).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Samples of a batch, at least 1; a device with fewer takes all it has.
    pub batch_size: u32,
    /// Share of the momentum that is kept, in [0, 1).
    pub momentum: f32,
    /// Step of the server, above 0.
    pub learning_rate: f32,
}

/// Who holds which sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Split {
    /// Every device looks like the whole.
    Iid {},
    /// Each device has its own mix of labels.
    Dirichlet {
        /// Concentration, above 0: 0.1 is very skewed, 100 is even.
        alpha: f64,
        /// Fewest samples of a device, at least 1.
        minimum: usize,
    },
}

/// What bad devices do. Those that answer to the honest vectors of the round know all of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Attack {
    /// They are honest.
    None {},
    /// Minus the honest mean.
    SignFlip {},
    /// Inner product manipulation: minus `tau` times the honest mean (Xie et al. 2020).
    Ipm {
        /// Factor, above 0. Default 2.
        #[serde(default = "ipm_factor")]
        tau: f32,
    },
    /// Fall of empires: the same with a larger factor.
    Foe {
        /// Factor, above 0. Default 10.
        #[serde(default = "foe_factor")]
        tau: f32,
    },
    /// A little is enough: the honest mean less `z` standard deviations in every coordinate (Baruch
    /// et al. 2019).
    Alie {
        /// Standard deviations, above 0. Default 1.5.
        #[serde(default = "alie_deviations")]
        z: f32,
    },
    /// All copy the first honest device (Karimireddy et al. 2022).
    Mimic {},
    /// They train honestly on labels y -> 9 - y.
    LabelFlip {},
    /// Model replacement (Bagdasaryan et al. 2020): they train towards class 0 for samples with a
    /// bright corner and scale the result so that it replaces the model.
    Backdoor {
        /// Shorten the vector to the median honest norm, so that its length does not give it away.
        #[serde(default)]
        hidden: bool,
    },
    /// Vectors of NaN and infinity.
    NotFinite {},
    /// Vectors of norm 1e30.
    HugeNorm {},
}

/// Pre-aggregators and a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// Pre-aggregators in their order; none unless given.
    #[serde(default)]
    pub pre: Vec<PreAggregator>,
    /// The rule.
    pub rule: RobustRule,
}

fn ipm_factor() -> f32 {
    2.0
}

fn foe_factor() -> f32 {
    10.0
}

fn alie_deviations() -> f32 {
    1.5
}

impl AttackRecipe {
    /// True when `text` says that it is a recipe of attacks, whether or not it can be read.
    pub fn is_meant_by(text: &str) -> bool {
        /// The key that tells recipes apart; other keys are not looked at.
        #[derive(Deserialize)]
        struct Header {
            kind: RecipeKind,
        }
        toml::from_str::<Header>(text).is_ok_and(|header| match header.kind {
            RecipeKind::AttackLaboratory => true,
        })
    }
}

impl Pipeline {
    /// The pipeline with the number of bad devices that it has to bear.
    pub fn against(&self, byzantine: u32) -> RobustSpec {
        RobustSpec {
            byzantine,
            pre: self.pre.clone(),
            rule: self.rule,
        }
    }
}

impl fmt::Display for Pipeline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.against(0).fmt(formatter)
    }
}

impl fmt::Display for Split {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Iid {} => formatter.write_str("iid"),
            Self::Dirichlet { alpha, .. } => write!(formatter, "dirichlet {alpha}"),
        }
    }
}

impl fmt::Display for Attack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None {} => formatter.write_str("none"),
            Self::SignFlip {} => formatter.write_str("sign flip"),
            Self::Ipm { tau } => write!(formatter, "ipm {tau}"),
            Self::Foe { tau } => write!(formatter, "foe {tau}"),
            Self::Alie { z } => write!(formatter, "alie {z}"),
            Self::Mimic {} => formatter.write_str("mimic"),
            Self::LabelFlip {} => formatter.write_str("label flip"),
            Self::Backdoor { hidden: false } => formatter.write_str("backdoor"),
            Self::Backdoor { hidden: true } => formatter.write_str("hidden backdoor"),
            Self::NotFinite {} => formatter.write_str("nan, inf"),
            Self::HugeNorm {} => formatter.write_str("huge norm"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attacks::{ATTACK_LABORATORY, AttackError};

    fn refusal(from: &str, to: &str) -> String {
        assert!(ATTACK_LABORATORY.contains(from), "{from}");
        let text = ATTACK_LABORATORY.replacen(from, to, 1);
        let error: AttackError = AttackRecipe::from_toml(&text).unwrap_err();
        error.to_string()
    }

    #[test]
    fn the_recipe_that_ships_has_the_default_pipeline_and_all_attacks() {
        let recipe = AttackRecipe::from_toml(ATTACK_LABORATORY).unwrap();
        let default = RobustSpec::against(4);
        let is_default = |pipeline: &Pipeline| pipeline.against(4) == default;
        assert_eq!(recipe.pipelines.iter().filter(|p| is_default(p)).count(), 1);
        assert_eq!(
            (recipe.devices, recipe.byzantine.as_slice()),
            (20, &[4, 6][..])
        );
        assert_eq!(recipe.attacks.len(), 11);
        let written = toml::to_string(&recipe).unwrap();
        assert_eq!(AttackRecipe::from_toml(&written).unwrap(), recipe);
    }

    #[test]
    fn values_that_make_no_sense_are_refused_by_their_key() {
        for (from, to, field) in [
            ("devices = 20", "devices = 2", "devices"),
            ("byzantine = [4, 6]", "byzantine = [20]", "byzantine"),
            ("byzantine = [4, 6]", "byzantine = []", "byzantine"),
            ("byzantine = [4, 6]", "byzantine = [4, 4]", "byzantine"),
            ("rounds = 300", "rounds = 0", "rounds"),
            ("batch_size = 25", "batch_size = 0", "training.batch_size"),
            ("momentum = 0.9", "momentum = 1.0", "training.momentum"),
            (
                "learning_rate = 0.3",
                "learning_rate = nan",
                "training.learning_rate",
            ),
            ("clip = 100.0", "clip = -1.0", "clip"),
            ("codec = \"f32\"", "codec = \"f33\"", "recipe"),
            ("alpha = 0.5", "alpha = 0.0", "splits.alpha"),
            ("minimum = 10", "minimum = 1000", "splits.minimum"),
            ("kind = \"sign_flip\"", "kind = \"sing_flip\"", "recipe"),
            (
                "kind = \"ipm\", tau = 2.0",
                "kind = \"ipm\", tau = 0.0",
                "attacks.tau",
            ),
            ("kind = \"sign_flip\"", "kind = \"mimic\"", "attacks"),
            (
                "kind = \"centered_clipping\", tau = 1.0",
                "kind = \"mean\"",
                "pipelines",
            ),
            ("tau = 1.0", "tau = -1.0", "pipelines"),
            ("seeds = [", "seeds = [1, 1, ", "seeds"),
            ("title = ", "colour = 1\ntitle = ", "recipe"),
        ] {
            let refused = refusal(from, to);
            assert!(refused.starts_with(field), "{to}: {refused}");
        }
        let misspelt = ATTACK_LABORATORY.replacen("attack_laboratory", "attic", 1);
        assert!(
            AttackRecipe::is_meant_by(ATTACK_LABORATORY) && !AttackRecipe::is_meant_by(&misspelt)
        );
        let long = " ".repeat(300_000);
        let error = AttackRecipe::from_toml(&long).unwrap_err();
        assert!(error.to_string().contains("256 KiB"));
    }
}
