//! What came of a recipe of attacks.

use serde::{Deserialize, Serialize};

/// All tables of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttackOutcome {
    /// Title of the recipe.
    pub title: String,
    /// Its description.
    pub description: String,
    /// How to read the numbers: seeds, rounds, what was and was not simulated.
    pub method: String,
    /// One table per split and number of bad devices.
    pub settings: Vec<SettingOutcome>,
}

/// One table: pipelines by attacks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SettingOutcome {
    /// The split, e.g. `dirichlet 0.5`.
    pub split: String,
    /// Devices in all.
    pub devices: u32,
    /// Bad ones among them.
    pub byzantine: u32,
    /// The attacks, in the order of the columns.
    pub attacks: Vec<String>,
    /// The rows.
    pub pipelines: Vec<PipelineOutcome>,
}

/// One row: a pipeline under all attacks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PipelineOutcome {
    /// Its name, e.g. `arc + nnm + geometric_median`.
    pub name: String,
    /// Why a run with it is refused; empty when it is accepted.
    pub refusal: String,
    /// One per attack; empty when the rule can't be applied to these numbers at all.
    pub cells: Vec<CellOutcome>,
    /// The attack that hurts most; none when there was none.
    pub worst: Option<Worst>,
}

impl PipelineOutcome {
    /// What to say beside its name: nothing of one that a run accepts.
    pub fn remark(&self) -> &'static str {
        match self.name.as_str() {
            _ if self.refusal.is_empty() => "",
            "mean" => "the default mode; refused as a robust rule",
            _ => "refused at run creation",
        }
    }
}

/// One cell: means over the seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellOutcome {
    /// The attack.
    pub attack: String,
    /// Test accuracy of the last model, 0 to 1.
    pub accuracy: f64,
    /// The same for each seed.
    pub by_seed: Vec<f64>,
    /// For backdoors: share of samples with the trigger taken for the target, 0 to 1.
    pub backdoor: Option<f64>,
    /// Updates refused at the door, all rounds and seeds.
    pub refused_updates: u64,
    /// SHA-256 of the last weights for each seed, in hex.
    pub model_digests: Vec<String>,
}

/// The lowest accuracy of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worst {
    /// Under this attack.
    pub attack: String,
    /// Accuracy, 0 to 1.
    pub accuracy: f64,
}

impl SettingOutcome {
    /// The setting in words.
    pub fn name(&self) -> String {
        let (split, bad, all) = (&self.split, self.byzantine, self.devices);
        format!("{split}, {bad} of {all} devices bad")
    }
}
