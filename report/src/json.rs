//! Reports as JSON.

use serde::Serialize;

use crate::error::EncodeError;

/// A report as indented JSON, as it stands in `report.json`; reads back with serde.
///
/// # Errors
/// [`EncodeError`] when a type of the report can't be serialised.
pub fn json<T: Serialize>(report: &T) -> Result<String, EncodeError> {
    serde_json::to_string_pretty(report).map_err(|error| EncodeError {
        what: "report.json",
        reason: error.to_string(),
    })
}
