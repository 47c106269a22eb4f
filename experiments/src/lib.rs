//! Experiments: data sets, their split over devices, and the report of a run.
//!
//! Promise: everything here is a pure function of its arguments and of the files it is told to read.
//! The watch and digits sets are compiled in; no loader reaches for the network. Any byte string may
//! be given to a loader: damaged or foreign input is a typed error, never a panic or unbounded memory.
//!
//! - [`data`]: loaders (`watch`, `digits`, `idx`), the array formats they read, and [`data::Dataset`].
//! - [`partition`]: who holds which sample (IID, Dirichlet label skew, natural users).
//! - [`report`]: the [`report::Report`] of a run and its writers (HTML, JSON, CSV, SVG).
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod data;
pub mod partition;
pub mod report;
