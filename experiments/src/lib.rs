//! Experiments: data sets, their split over devices, the demo, recipes, and what was measured.
//!
//! Promise: loaders and partitioners are pure functions of their arguments and of the files
//! they are told to read. The watch and digits sets are compiled in; no loader reaches for the network.
//! Any byte string may be given to a loader: damaged or foreign input is a typed error, never a panic
//! or unbounded memory. The demo and the runner use a real coordinator and real agents over gRPC.
//!
//! - [`data`]: loaders (`watch`, `digits`, `idx`), the array formats they read, and [`data::Dataset`].
//! - [`partition`]: who holds which sample (IID, Dirichlet label skew, natural users).
//! - [`runner`]: recipes in TOML, and the coordinator, fleet and operator in one process that run them.
//! - [`attacks`]: the attack laboratory, robust rules against lying devices, in one process.
//! - [`audit`]: the privacy audit, noise and sensitivity of real releases, measured.
//! - [`demo`]: the main job end to end.
//! - [`output`]: the files and folders that reports are written into.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod attacks;
pub mod audit;
pub mod data;
pub mod demo;
pub mod output;
pub mod partition;
pub mod runner;
