//! From the text of a recipe to a checked one.

use crate::{RunSpec, SpecError};

/// Longest recipe in bytes.
pub const MAX_RECIPE_BYTES: usize = 256 * 1024;

impl RunSpec {
    /// Parses and checks a recipe.
    ///
    /// # Errors
    /// Names the key, what is wrong with it and what would be right.
    pub fn from_toml(text: &str) -> Result<Self, SpecError> {
        if text.len() > MAX_RECIPE_BYTES {
            return Err(SpecError::TooLong {
                bytes: text.len(),
                limit: MAX_RECIPE_BYTES,
            });
        }
        let spec: Self = toml::from_str(text).map_err(|error| SpecError::Syntax {
            message: format!("{error}{}", other_recipe(text)),
        })?;
        spec.check()?;
        Ok(spec)
    }
}

/// What to do with a recipe that is meant for another command; empty for none that is known.
fn other_recipe(text: &str) -> &'static str {
    let Ok(table) = text.parse::<toml::Table>() else {
        return "";
    };
    // an experiment has variants, or a kind of its own; a run has neither
    if table.contains_key("variant") || table.contains_key("kind") {
        "this is the recipe of an experiment: start it with `tributary experiment run`"
    } else {
        ""
    }
}
