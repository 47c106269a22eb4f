//! Int8 builds: accuracy against the float model, bundles, self-tests, fit and pruning.

// A fixture that fails is a failed test.
#![allow(clippy::unwrap_used)]

mod accuracy;
mod bundles;
mod fixtures;
mod pruning;
