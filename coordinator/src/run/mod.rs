//! One actor per run: it owns the engine's state and is the only one to change it.
//!
//! ```text
//!  Upload --admit--> actor --ok--> bytes --checked--> actor: add to the region's open partial
//!                      |                                |
//!                      |   every few tens of ms: seal   v
//!                      |      vault <- partial sums, then one commit {segments, contributors}
//!                      |      then receipts
//!                      v
//!  goal, all answered or deadline: Closed -> ledger charge + Charged (one commit)
//!      -> noise, division, optimiser step -> model blob -> Published (one commit)
//! ```
//!
//! - `actor`: commands, timers, and the order of things
//! - `collect`: open partials and sealing
//! - `controls`: the server's control variates, shared by runs with equal ones
//! - `handle`: a way to talk to a run; `command`: what can be said; `receipt`: what is answered
//! - `health`: what releases say of a run
//! - `ending`: ending a run that no task owns; `give_up`: one that is set aside; `over`: how such look
//! - `format`: how updates are checked and counted
//! - `payload`: what an update is made of
//! - `release`: from sealed sums to new model versions
//! - `server_state`: what the optimiser and the rule remember
//! - `journal`: events and snapshots on disk, and recovery
//! - `notices`: what sessions tell it without waiting
//! - `start`: new runs; `first_models`: the versions that they begin with
//! - `recover`: old ones after a restart
//! - `supervise`: a crash of a run's task stays in it
//! - `runs`: all of them; `catalogue`: which there are
//! - `evidence`: what a run knows, compared with what devices show
//! - `costs`: the noise of a run and what its rounds cost
//! - `terms`: what it asks of the ledger: caps, reservation, permission
//! - `plan`: whether it can last, checked before it starts; `reserve`: the worst case that it sets aside
//! - `view`: what others see of a run
//! - `wire_plan`: the plan as devices are sent it; `wire_reject`: a refusal
//! - `origin`: where a run comes from; `parts`: what its actor needs beside its state
//! - `failure`: what can't go on for now; `roll`: whom a run hears after a start

mod actor;
mod catalogue;
mod collect;
mod command;
mod controls;
mod costs;
mod ending;
mod evidence;
mod failure;
mod first_models;
mod format;
mod give_up;
mod handle;
mod health;
mod journal;
mod named;
mod notices;
mod origin;
mod over;
mod parts;
mod payload;
mod plan;
mod receipt;
mod recover;
mod release;
mod remedy;
mod reserve;
mod roll;
mod runs;
mod server_state;
mod start;
mod supervise;
mod terms;
mod view;
mod wire_plan;
mod wire_reject;

#[cfg(test)]
mod tests;

pub use self::catalogue::{Catalogue, Listed};
pub use self::command::{ClipAnswer, UpdateHeader};
pub(crate) use self::command::{Command, Contribute};
pub use self::controls::Controls;
pub use self::costs::RunCosts;
#[cfg(test)]
pub use self::ending::create_journal;
pub use self::ending::{Ending, end_run};
pub use self::failure::NO_SPACE;
pub use self::format::Format;
pub use self::give_up::give_up;
pub use self::handle::RunHandle;
pub use self::journal::run_ids;
pub(crate) use self::named::{named_blobs, stored_runs};
pub use self::origin::Origin;
pub use self::receipt::{Counted, Refusal};
pub use self::recover::{EndedRun, recover_runs, stored_state};
pub use self::runs::{EndedRuns, Runs};
pub use self::start::{StartedRun, start_run, started_with};
pub use self::terms::release_after;
pub use self::view::RunView;
pub use self::wire_reject::{wire_reason, wire_reject};
