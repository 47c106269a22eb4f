//! What people look at: HTML pages, SVG plots and pictures, CSV tables, JSON.
//!
//! Promise: pure functions from plain serde data to text. Nothing is read or written, no clock is
//! asked, and no output refers to anything outside itself: a page has no script and fetches nothing.
//! Missing and non-finite numbers are shown as a dash and leave a gap in a line; any text is escaped.
//! Writing the files is left to the caller.
//!
//! - [`experiment`]: the report of one experiment or of the demo.
//! - [`audit`]: what a privacy audit found.
//! - [`attacks`]: what the attack laboratory found.
//! - [`picture`]: terminal output as a standalone SVG file.
//! - [`number`]: numbers as people read them.
//! - [`CsvFile`], [`json()`]: tables and data for programs, at full precision.
//!
//! | module | holds |
//! |---|---|
//! | `document` | what every page begins with |
//! | `plot` | what every plot is made of: scales, axes, labels, lines |
//! | `style` | colours and type of every page, from `page.css` and `plot.css` |
//! | `nullable` | non-finite numbers in JSON |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod attacks;
pub mod audit;
pub mod experiment;
pub mod number;
pub mod picture;

mod csv_file;
mod document;
mod error;
mod json;
mod nullable;
mod plot;
mod style;

pub use csv_file::CsvFile;
pub use error::EncodeError;
pub use json::json;
