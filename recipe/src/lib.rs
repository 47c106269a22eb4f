//! Recipes: what an operator asks for, as data, checked field by field before anything starts.
//!
//! A [`RunSpec`] says which model is trained where, in how many rounds, under which privacy, and what to
//! do when a region drifts. Unknown keys and wrong types are errors that name the key; combinations whose
//! guarantee would be void are refused with the reason and the nearest choice that is valid.
//!
//! Pure: no input or output, no clock, no randomness.
//!
//! | module | holds |
//! |---|---|
//! | `run` | the run, made of the sections below |
//! | `model_source`, `training`, `aggregation`, `privacy`, `monitor` | the sections |
//! | `playbook` | the run that a playbook starts |
//! | `parse` | from TOML to a checked run |
//! | `check`, `check_monitor`, `answers` | ranges of single values and sections |
//! | [`compatibility`] | which options of local training exclude each other, for recipes and devices |
//! | `combination`, `noise` | what goes together in a recipe |
//! | `error` | why a recipe is refused |

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod aggregation;
mod answers;
mod check;
mod check_monitor;
mod combination;
pub mod compatibility;
mod error;
mod model_source;
mod monitor;
mod noise;
mod parse;
mod playbook;
mod privacy;
mod run;
mod training;

pub use self::aggregation::{AggregationMode, AggregationSpec};
pub use self::check_monitor::check_features;
pub use self::error::SpecError;
pub use self::model_source::{ModelSource, VersionSource};
pub use self::monitor::{BuildSpec, DriftSpec, PlaybookSpec, QuantityRecipe};
pub use self::noise::MAX_CORRELATED;
pub use self::parse::MAX_RECIPE_BYTES;
pub use self::privacy::{AdaptiveClipSpec, AnswerTime, NoiseMechanism, PrivacyMode, PrivacySpec};
pub use self::run::RunSpec;
pub use self::training::{RoundSpec, ServerSpec, TrainingSpec};

#[cfg(test)]
mod tests;
