//! The coordinator: gRPC services, the round engine, the fleet, the registry, builds and the monitor.
//!
//! It promises that a contribution is counted at most once, that what has a receipt is in the
//! release, that nothing is released before it is charged, and that `kill -9` at any moment changes
//! none of this: the same round goes on after a restart.
//!
//! | module | holds |
//! |---|---|
//! | [`engine`] | the pure state machine of a run |
//! | [`run`] | the actor that owns one run's state: admission, sealing, release, recovery |
//! | [`fleet`] | enrolled devices, their sessions and mailboxes |
//! | [`epoch`] | proofs that devices keep, by which a folder that was put back from a copy is recognised |
//! | [`lineage`] | in which start of the coordinator a round or window was asked |
//! | [`check`] | a look at a whole data folder that changes nothing |
//! | [`ledger`] | privacy accounts per device, charged before a release |
//! | [`registry`] | model versions and builds; [`retention`] says how long |
//! | [`monitor`] | drift windows, verdicts and the playbook |
//! | [`server`] | opening a data folder and serving it, within [`limits`]: listeners, calls, gRPC, HTTP |
//! | [`telemetry`] | counters and the admin page |
//! | [`health`] | whether it serves, and what is amiss meanwhile |
//! | [`clock`], `service_time` | time as an argument; the time that deadlines are measured in |
//! | [`quarantine`] | what is set aside because its records are damaged |
//! | [`failpoint`], `backoff` | failures that tests ask for; trying again after others |

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod backoff;
#[cfg(test)]
mod cancelled;
pub mod check;
pub mod clock;
mod commit_then;
pub mod coordinator;
mod core;
mod download;
pub mod engine;
pub mod epoch;
mod error;
pub mod failpoint;
#[cfg(test)]
mod fixtures;
pub mod fleet;
pub mod health;
pub mod ledger;
pub mod limits;
pub mod lineage;
pub mod monitor;
mod names;
mod object;
pub mod quarantine;
mod random;
pub mod registry;
pub mod retention;
pub mod rollback;
pub mod run;
pub mod server;
mod service_time;
mod status;
pub mod telemetry;
mod votes;

pub use crate::coordinator::Coordinator;
pub use crate::core::Core;
pub use crate::error::CoordinatorError;
pub use crate::limits::Limits;
pub use crate::server::{Server, ServerConfig, ServerError};
