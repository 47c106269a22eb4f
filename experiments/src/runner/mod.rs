//! Running recipes: a coordinator, a fleet and an operator in one process, over real gRPC.
//!
//! Promise: nothing is simulated but the devices' data, speed and absences. Runs are started, followed
//! and judged through the services that any operator uses; models are downloaded and scored on samples
//! that no device trains on.
//!
//! - [`Laboratory`]: a coordinator on a loopback port with sled in a temporary folder, and its fleet.
//! - [`Operator`]: a client of the control and transfer services.
//! - [`follow_run`]: a run round by round, every version scored.
//! - [`HeldOut`]: samples by region, and what models score on them; [`LocalTests`]: the same for each
//!   device's own kind of data.
//! - [`simulated_devices`] and friends: devices that hold committed data.
//! - [`ExperimentRecipe`], [`run_experiment`]: recipes in TOML and their reports.
//! - [`Progress`]: what a long run tells while it goes on; [`Interrupt`]: asking it to end early.

mod built_in;
mod error;
mod experiment;
mod follow;
mod held_out;
mod interrupt;
mod laboratory;
mod local;
mod operator;
mod outcome;
mod partition;
mod population;
mod process;
mod progress;
mod recipe;
mod result;
mod scratch;
mod seed;
mod simulated;
mod variant;
mod write_up;

#[cfg(test)]
mod tests;

pub use built_in::{BUILT_IN, built_in};
pub use error::RunnerError;
pub use experiment::run_experiment;
pub use follow::{RoundResult, RunResult, follow_run};
pub use held_out::{HeldOut, Score};
pub use interrupt::{Interrupt, Interrupter};
pub use laboratory::Laboratory;
pub use local::LocalTests;
pub use operator::Operator;
pub use outcome::{ExperimentOutcome, VariantOutcome};
pub use partition::Partition;
pub use process::peak_resident_bytes;
pub use progress::{Progress, RoundNews, Silent, WindowNews};
pub use recipe::{DataSource, ExperimentRecipe, FleetRecipe};
pub use scratch::remove_leftovers;
pub use seed::derived_seed;
pub use simulated::{
    SUBJECTS, WINDOWS_PER_DEVICE, simulated_devices, watch_as_held, watch_held_out,
    wearable_shards, wearer,
};
pub use variant::{Attack, Attackers, Variant};

pub(crate) use experiment::recipe_text;
pub(crate) use scratch::Scratch;
pub(crate) use simulated::{device_id, shard};
pub(crate) use write_up::{conditions, privacy_summary};
