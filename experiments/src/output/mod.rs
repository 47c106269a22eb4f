//! Writing what was made: files and folders that a user names.
//!
//! - [`OutputFile`]: how every file that a user names is written.
//! - [`ReportFolder`], [`prepare_folder`]: the folder of a report.
//! - [`write_all`]: the report of an experiment, whole.

mod error;
mod experiment;
mod file;
mod folder;

pub use error::OutputError;
pub use experiment::{Written, write_all};
pub use file::OutputFile;
pub use folder::{ReportFolder, prepare_folder};
