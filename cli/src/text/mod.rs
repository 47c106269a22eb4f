//! Sentences and cells that several verbs print.

pub mod model;
pub mod monitor;
pub mod spend;
