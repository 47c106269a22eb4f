//! What an operation expects to find at its key.

use std::fmt;

/// What an operation expects to find at its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Anything, or nothing.
    Any,
    /// No record.
    Absent,
    /// A record of exactly this version.
    Version(u64),
}

impl Expect {
    /// Whether a record of version `found` (or none) is what was expected.
    pub(crate) fn holds(self, found: Option<u64>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => found.is_none(),
            Self::Version(version) => found == Some(version),
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => formatter.write_str("anything"),
            Self::Absent => formatter.write_str("no record"),
            Self::Version(version) => write!(formatter, "version {version}"),
        }
    }
}
