//! Why a recipe is refused.

/// Why a recipe is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SpecError {
    /// More bytes than a recipe may have.
    #[error("the recipe has {bytes} bytes, the limit is {limit}: shorten it")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Not TOML, an unknown key, or a value of another type.
    #[error("the recipe can't be read: {message}")]
    Syntax {
        /// Where and why, from the parser.
        message: String,
    },
    /// A value that makes no sense.
    #[error("{field} {problem}: {remedy}")]
    Invalid {
        /// Path of the key.
        field: String,
        /// What is wrong with it.
        problem: String,
        /// What would be right.
        remedy: String,
    },
}

/// Refuses `field` when `wrong` holds.
pub(crate) fn refuse_if(
    wrong: bool,
    field: &str,
    problem: impl Into<String>,
    remedy: &str,
) -> Result<(), SpecError> {
    if !wrong {
        return Ok(());
    }
    Err(SpecError::Invalid {
        field: field.to_owned(),
        problem: problem.into(),
        remedy: remedy.to_owned(),
    })
}

/// Refuses `field` unless `value` is a number from `low` to `high`.
pub(crate) fn in_range(field: &str, value: f64, low: f64, high: f64) -> Result<(), SpecError> {
    let inside = value.is_finite() && value >= low && value <= high;
    refuse_if(
        !inside,
        field,
        format!("is {value}"),
        &format!("use {low} to {high}"),
    )
}
