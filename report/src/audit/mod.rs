//! What a privacy audit found: the outcome as data, and what shows it.
//!
//! - [`AuditOutcome`]: all parts and their verdicts.
//! - [`page()`], `plots`: the HTML page.
//! - [`csv_files()`]: questions, noise, canaries and clips.

mod csv_files;
mod outcome;
mod page;
mod plots;

pub use csv_files::csv_files;
pub use outcome::{
    AdaptiveOutcome, AdaptiveRun, AuditOutcome, Bin, CanaryOutcome, CanaryRun, CanaryScore, Check,
    FieldOutcome, NoiseOutcome, NoiseRound, QuantilePair, SensitivityCase, SensitivityOutcome,
};
pub use page::page;
