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
//! - [`run_audit`]: carries it out; [`AuditOutcome`](tributary_report::audit::AuditOutcome) is what
//!   came of it.
//! - [`write_audit`]: the outcome as HTML, JSON and CSV.
//!
//! | module | holds |
//! |---|---|
//! | `recipe` | the recipe and its checks |
//! | `device`, `plan`, `pipeline` | scripted devices, a run's recipe, the run and its releases |
//! | `grid` | payloads whose exact sum is known |
//! | `law`, `statistics` | covariance of rounds by mechanism; p-values |
//! | `mechanism`, `noise` | part 1: variance, distribution and correlation of the noise |
//! | `sensitivity` | part 2: what one device changes |
//! | `canary`, `one_run` | part 3: a membership attack, and the bound on epsilon that it proves |
//! | `adaptive` | part 4: where an adaptive clip goes |
//! | `field` | part 5: what the field's default would have released on the same inputs |
//! | `auditor` | all parts |
//! | `write_up` | the outcome as files |

mod adaptive;
mod auditor;
mod canary;
mod device;
mod error;
mod field;
mod grid;
mod law;
mod mechanism;
mod noise;
mod one_run;
mod pipeline;
mod plan;
mod recipe;
mod sensitivity;
mod statistics;
mod write_up;

#[cfg(test)]
mod tests;

pub use auditor::run_audit;
pub use error::AuditError;
pub use recipe::{
    AdaptiveRecipe, AuditKind, AuditRecipe, AuditedMechanism, CanaryRecipe, ModelRecipe,
    NoiseRecipe, SensitivityRecipe,
};
pub use write_up::{WrittenAudit, write_audit};

/// The recipe of the audit that ships, known by the name `privacy-audit`.
pub const PRIVACY_AUDIT: &str = include_str!("../../recipes/privacy-audit.toml");
