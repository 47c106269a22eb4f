//! Why the laboratory does not reach its end.

use tributary_aggregator::{RobustError, UpdateError};
use tributary_model::ModelError;

use crate::data::DataError;
use crate::output::OutputError;
use crate::partition::PartitionError;

/// Why a recipe of attacks is refused or not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttackError {
    /// A setting makes no sense.
    #[error("{field} {problem}: {remedy}")]
    Setting {
        /// The key of the recipe.
        field: String,
        /// What is wrong with it.
        problem: String,
        /// What would be right.
        remedy: String,
    },
    /// The data can't be loaded.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The data can't be split as asked.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// The model can't be made.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// An honest update does not pass the door.
    #[error("an honest update is refused: {0}")]
    Update(#[from] UpdateError),
    /// A rule refuses the vectors or their number.
    #[error(transparent)]
    Rule(#[from] RobustError),
    /// The outcome can't be written.
    #[error(transparent)]
    Report(#[from] OutputError),
}

impl AttackError {
    pub(super) fn setting(
        field: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Setting {
            field: field.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}
