//! Why a report can't be written.

use std::path::PathBuf;

use tributary_report::EncodeError;

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// A file or folder could not be written.
    #[error("cannot write {path}; check that it is a folder that may be written to and has room")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The data could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}
