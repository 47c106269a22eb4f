//! Int8 builds: accuracy against the float model, bundles, self-tests, fit and pruning.

mod accuracy;
mod bundles;
mod fixtures;
mod pruning;
