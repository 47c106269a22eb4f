//! The report of one experiment: what was measured, as data, and the files that show it.
//!
//! A [`Report`] is plain serde data. [`write_all`] turns it into a folder with one self-contained HTML
//! page, JSON, one CSV file per series, and an SVG picture; each writer is also a pure function of its
//! own ([`page`], [`json`], [`csv_files`], [`picture::key_plots`]). No output refers to anything outside
//! itself. Missing and non-finite numbers are shown as a dash and leave a gap in a line.
//!
//! - `model`, `summary`: the data.
//! - `files`: CSV, JSON, and the folder.
//! - [`OutputFile`]: how every file that a user names is written.
//! - `page`, `tables`: the HTML page.
//! - `plot`: the plots, drawn as SVG.
//! - [`picture`]: standalone SVG files, also of terminal output.

pub mod picture;

mod files;
mod model;
pub(crate) mod number;
mod output_file;
mod page;
pub(crate) mod plot;
mod summary;
mod tables;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;

pub use files::{CsvFile, ReportError, Written, csv_files, json, prepare_folder, write_all};
pub use model::{
    Conditions, DriftPoint, Event, EventKind, Fact, LedgerLine, Phase, Report, RoundPoint,
    RoundSeries, Verdict, WirePoint,
};
pub(crate) use number::count;
pub use output_file::OutputFile;
pub use page::page;
pub(crate) use page::style;
pub use summary::{AccuracySummary, Build, DriftSummary, PrivacySummary, Summary, WireBytes};
