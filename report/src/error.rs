//! Why data can't be encoded.

/// Data that can't be written as CSV or JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot encode {what}: {reason}")]
pub struct EncodeError {
    /// The file that was being encoded, e.g. `report.json`.
    pub what: &'static str,
    /// Why not.
    pub reason: String,
}
