//! Drift monitoring from summed, noised histograms.
//!
//! Devices put one vote per monitored quantity and window into fixed-edge histograms; the coordinator
//! sums the votes per region, adds noise of known variance and hands the result to this crate. It says
//! how far a region has moved from its reference, how sure one can be of it, and what to do about it.
//!
//! # Promise
//! - The noise is part of the test: thresholds hold their false-alarm rate at any noise, device count
//!   and reference size, because the covariance holds all three ([`wald`]).
//! - Thresholds are stated as a mean number of windows between false alarms for the whole fleet
//!   ([`MonitorConfig::drift_interval`]), start-up and noise of the reference included ([`Calibrator`]).
//! - Too few devices, or too much noise to see an effect worth acting on, is a verdict of its own.
//! - Same input, same bits: there is no clock, no I/O and no unseeded randomness in here. All state is
//!   serialisable and bounded: it doesn't grow with the number of windows.
//!
//! # Map
//! | module | says |
//! |---|---|
//! | `quantity`, `quantity_id` | what is counted: fixed edges or classes, and its identity |
//! | `histogram` | the counts of one window, their noise, typed merging |
//! | `wald` | the two-sample statistic |
//! | `effect` | how large the shift is: PSI, Jensen-Shannon, smallest visible shift |
//! | `calibration` | thresholds for a wanted interval between false alarms |
//! | `paths` | the simulation behind it |
//! | `ewma` | memory over windows, with its exact covariance |
//! | `stream` | one quantity of one region: reference and observations |
//! | `sufficiency` | how many devices a window needs, before it is asked |
//! | `verdict` | the states of a region and the legal steps between them |
//! | `region` | several streams, one verdict |
//! | `playbook` | from the pattern of what moved to an action |
//! | `scope` | is it one region or the fleet |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod calibration;
mod config;
mod effect;
mod error;
mod ewma;
mod histogram;
mod paths;
mod playbook;
mod quantity;
mod quantity_id;
mod region;
mod scope;
mod stream;
mod sufficiency;
mod verdict;
mod wald;

pub use calibration::{CalibrationKey, Calibrator, Thresholds, single_window_threshold};
pub use config::MonitorConfig;
pub use effect::{
    Effect, debiased_js_distance, debiased_psi, effect, js_distance, minimal_detectable_psi, psi,
};
pub use error::DriftError;
pub use histogram::Histogram;
pub use playbook::{Circumstances, Evidence, Movement, Playbook, choose_playbook};
pub use quantity::{Binning, MAX_BINS, Quantity, Role};
pub use quantity_id::QuantityId;
pub use region::{RegionMonitor, WindowReport};
pub use scope::{Scope, drift_scope};
pub use stream::{Level, Observation, StreamMonitor, TestResult};
pub use verdict::{DriftId, ReferenceVersion, Verdict};
pub use wald::{Wald, wald};
