//! A small recipe, changed key by key.

use toml::{Table, Value};

/// Weights of the recipe's model: 4 inputs, 6 hidden units, 2 classes.
pub const PARAMETERS: usize = 4 * 6 + 6 + 6 * 2 + 2;
/// The task of all tests.
pub const TASK: &str = "tiny";

const TEXT: &str = r#"
name = "tiny"
task = "tiny"
regions = ["eu", "us"]

[model]
name = "tiny-mlp"
input = [4]
layers = [
    { kind = "dense", units = 6 },
    { kind = "relu" },
    { kind = "dense", units = 2 },
    { kind = "softmax" },
]

[rounds]
count = 2
cohort = 4
over_selection = 1.0
deadline_ms = 60000

[training]
epochs = 2
batch_size = 4
learning_rate = 0.2

[privacy]
mode = "none"
clip = 1.0
"#;

/// A recipe.
#[derive(Debug, Clone)]
pub struct Recipe(Table);

impl Recipe {
    /// Two rounds of four devices without privacy.
    pub fn new() -> Self {
        Self(toml::from_str(TEXT).unwrap())
    }

    /// The same with noise of standard deviation z = 0.5 clips on each sum, and a short window for answers.
    pub fn private() -> Self {
        Self::new()
            .set("privacy.mode", "dp")
            .set("privacy.noise_multiplier", 0.5)
            .set("privacy.answer_window_ms", vec![60, 120])
    }

    /// Sets a key, for example `rounds.cohort`; tables on the way are made.
    pub fn set(mut self, path: &str, value: impl Into<Value>) -> Self {
        let mut keys: Vec<&str> = path.split('.').collect();
        let last = keys.pop().unwrap();
        let mut table = &mut self.0;
        for key in keys {
            let entry = table
                .entry(key)
                .or_insert_with(|| Value::Table(Table::new()));
            table = entry.as_table_mut().unwrap();
        }
        table.insert(last.to_owned(), value.into());
        self
    }

    /// So many rounds of so many devices, all of them needed.
    pub fn rounds(self, count: i64, cohort: i64) -> Self {
        let recipe = self.set("rounds.count", count).set("rounds.cohort", cohort);
        recipe.set("rounds.minimum", cohort)
    }

    /// Repeatable to the bit.
    pub fn seeded(self, seed: i64) -> Self {
        self.set("seed", seed)
    }

    /// As TOML.
    pub fn text(&self) -> String {
        toml::to_string(&self.0).unwrap()
    }
}
