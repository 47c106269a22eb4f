//! Why bytes are not a usable bundle.

use thiserror::Error;

/// Why bytes are not a usable bundle.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The bytes are something else.
    #[error("bundle does not begin with `TRBM`; give a build made for this runtime")]
    Magic,
    /// The format is newer or older.
    #[error("bundle has format version {found}, this runtime reads {supported}; build it again")]
    Version {
        /// Version in the bundle.
        found: u16,
        /// Version that can be read.
        supported: u16,
    },
    /// Bytes are missing or too many.
    #[error("bundle states {stated} bytes but has {actual}; transfer it again")]
    Length {
        /// Length written in the bundle.
        stated: usize,
        /// Length given.
        actual: usize,
    },
    /// The contents go on after the end.
    #[error("bundle ends in the middle of a field at byte {offset}; transfer it again")]
    Truncated {
        /// Where the field begins.
        offset: usize,
    },
    /// Some byte has changed.
    #[error("bundle checksum does not match; transfer it again")]
    Checksum,
    /// A field has a value that no build has.
    #[error("bundle field `{what}` is out of range; build it again")]
    Field {
        /// Name of the field.
        what: &'static str,
    },
    /// A step is of a kind this runtime lacks.
    #[error("bundle has a step of unknown code {code}; build it for this runtime")]
    UnknownStep {
        /// The code.
        code: u8,
    },
    /// The model does not compute what it was built to compute.
    #[error(
        "self-test vector {vector} gave other outputs; do not use this build, install it again"
    )]
    SelfTest {
        /// Position of the vector.
        vector: usize,
    },
}
