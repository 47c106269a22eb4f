//! The one error type of the loaders.

use std::path::PathBuf;

/// Why data could not be loaded. Each text names what was wrong and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file could not be opened or read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The bytes are not of the expected format.
    #[error("{what} is not {expected}: {reason}; fetch the file again or name another one")]
    Foreign {
        /// The file or array.
        what: String,
        /// The expected format.
        expected: &'static str,
        /// What was found instead.
        reason: String,
    },
    /// The data end early or go on too long.
    #[error("{what} is damaged: expected {expected} bytes of data, found {found}; fetch it again")]
    WrongLength {
        /// The file or array.
        what: String,
        /// Bytes announced by the header.
        expected: u64,
        /// Bytes present (at least; reading stops once it is clear that there are too many).
        found: u64,
    },
    /// The element type is not the one needed, or not one this reader knows.
    #[error("{what} holds elements of type {found}, needed is {expected}; convert the array first")]
    WrongType {
        /// The file or array.
        what: String,
        /// The needed type or types.
        expected: &'static str,
        /// The type in the header.
        found: String,
    },
    /// The shape is not the one needed.
    #[error("{what} has shape {found:?}, needed is {expected}")]
    WrongShape {
        /// The file or array.
        what: String,
        /// The needed shape, in words.
        expected: String,
        /// The shape found.
        found: Vec<usize>,
    },
    /// The header announces more than the reader is ready to hold.
    #[error(
        "{what} announces {announced} bytes, more than the limit of {limit}; raise the limit or split it"
    )]
    TooLarge {
        /// The file or array.
        what: String,
        /// Bytes announced.
        announced: u64,
        /// Most bytes allowed.
        limit: u64,
    },
    /// A needed array or file is not there.
    #[error("{what} is missing; looked for {looked_for}")]
    Missing {
        /// The array or file.
        what: String,
        /// Names that were tried.
        looked_for: String,
    },
    /// A value is outside its range.
    #[error("{what}: value {value} at position {position} is outside {range}")]
    OutOfRange {
        /// The array or field.
        what: String,
        /// Where it is.
        position: usize,
        /// The value, as text.
        value: String,
        /// The allowed range, in words.
        range: &'static str,
    },
    /// A loader option can't be used.
    #[error("option {option} can't be {value}: {remedy}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// The value given.
        value: String,
        /// What to choose instead.
        remedy: String,
    },
}
