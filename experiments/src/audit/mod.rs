//! The privacy audit: does what is released carry the noise that is claimed?
//!
//! Nothing is taken on trust. A real coordinator with a real store serves over real gRPC, the agents
//! that every device runs send payloads of the auditor's choice, and what is judged are the published
//! models. Audited noise comes from the operating system as in production.
//!
//! Promise: every verdict of chance states the probability that a right build fails it, and every
//! verdict can fail (the tests feed each of them wrong numbers).
//!
//! - [`AuditRecipe`]: what is audited, in TOML.
//! - [`run_audit`]: carries it out; [`AuditOutcome`] is what came of it.
//!
//! | module | holds |
//! |---|---|
//! | `recipe` | the recipe and its checks |
//! | `device`, `plan`, `pipeline` | scripted devices, a run's recipe, the run and its releases |
//! | `grid` | payloads whose exact sum is known |
//! | `law`, `statistics` | covariance of rounds by mechanism; p-values |
//! | `noise` | part 1: variance, distribution and correlation of the noise |
//! | `sensitivity` | part 2: what one device changes |
//! | `auditor`, `outcome` | all parts, and what they found |

mod auditor;
mod device;
mod error;
mod grid;
mod law;
mod noise;
mod outcome;
mod pipeline;
mod plan;
mod recipe;
mod sensitivity;
mod statistics;

#[cfg(test)]
mod tests;

pub use auditor::run_audit;
pub use error::AuditError;
pub use outcome::{
    AuditOutcome, Bin, Check, NoiseOutcome, NoiseRound, QuantilePair, SensitivityCase,
    SensitivityOutcome,
};
pub use recipe::{
    AuditKind, AuditRecipe, AuditedMechanism, ModelRecipe, NoiseRecipe, SensitivityRecipe,
};

/// The recipe of the audit that ships, known by the name `privacy-audit`.
pub const PRIVACY_AUDIT: &str = include_str!("../../recipes/privacy-audit.toml");
