//! The report of one experiment: what was measured, as data, and what shows it.
//!
//! A [`Report`] is plain serde data; each writer is a pure function of it.
//!
//! - `model`, `summary`: the data.
//! - [`page()`], `tables`: the HTML page.
//! - [`csv_files()`]: one CSV file per series and table.
//! - [`key_plots()`]: the plots as one standalone picture.
//! - `plots`: accuracy, drift, epsilon and bytes, drawn as SVG.

mod csv_files;
mod key_plots;
mod model;
mod page;
mod plots;
mod summary;
mod tables;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;

pub use csv_files::csv_files;
pub use key_plots::{Appearance, key_plots};
pub use model::{
    Conditions, DriftPoint, Event, EventKind, Fact, LedgerLine, Phase, Report, RoundPoint,
    RoundSeries, Verdict, WirePoint,
};
pub use page::page;
pub use summary::{AccuracySummary, Build, DriftSummary, PrivacySummary, Summary, WireBytes};
