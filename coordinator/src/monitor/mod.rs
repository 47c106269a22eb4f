//! Drift monitoring of a trained model, and what a drift triggers.
//!
//! ```text
//! window: ask devices -> one vote per quantity -> exact sums per region
//!      -> noise, charge + record in one commit -> verdict
//! drift:  playbook -> a run of the region alone -> ranges of activations (noised, charged)
//!      -> int8 build per device profile -> signed offers -> new reference
//! ```
//!
//! Participation is public: who was asked and answered is known to the coordinator and printed.
//! What a device said is only ever used as part of a noised sum.
//!
//! A window is asked only where its answers can be judged: with as many devices as the noise and the
//! reference need, which both are known before. It ends after the recipe's windows or by an operator's
//! `tributary monitor stop`, and then leaves memory; its record and its last windows stay on disk.
//!
//! - `monitors`: all of them; `handle`: a way to talk to one; `list`, `shown`, `view`: what operators see
//! - `launch`, `after_run`, `recover`: how they start; `stop`, `give_up`: how they end
//! - `actor`: the life of a monitor (`at_work`); `window`: one window of it
//! - `poll`: asking devices and summing their votes
//! - `roll`, `hear`, `listening`: what is heard after a start, before anything is asked, charged or released
//! - `quantities`: from recipes to bins and back
//! - `charging`: who pays
//! - `mitigation`: the playbook; `playbooks`: those that are under way
//! - `calibration`, `builds`, `installs`: int8 builds for each profile, and who runs them
//! - `first_builds`: builds of the run's own model, where no playbook makes them
//! - `space`: a disk without room; `supervise`: a crash stays in its monitor;
//!   `unstarted`: monitors that are set aside
//! - `record`: what is kept on disk; `numbers`: of calibrations; `history`: the windows of it

mod actor;
mod after_run;
mod at_work;
mod builds;
mod calibration;
mod charging;
mod first_builds;
mod give_up;
mod handle;
mod hear;
mod history;
mod installs;
mod launch;
mod list;
mod listening;
mod mitigation;
mod monitors;
mod numbers;
mod playbooks;
mod poll;
mod quantities;
mod record;
mod recover;
mod roll;
mod shown;
mod space;
mod stop;
mod supervise;
mod unstarted;
mod view;
mod window;

#[cfg(test)]
mod tests;

pub use self::after_run::follow;
#[cfg(test)]
pub use self::after_run::start_monitor;
pub use self::handle::MonitorHandle;
pub use self::list::list;
pub use self::monitors::Monitors;
pub(crate) use self::record::MonitorRecord;
pub use self::recover::recover;
pub use self::stop::stop;
pub use self::unstarted::problem_of;
