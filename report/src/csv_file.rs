//! CSV files: RFC 4180 with a header line.

use std::fmt::Display;

use crate::error::EncodeError;

/// One CSV file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvFile {
    /// File name, e.g. `accuracy.csv`.
    pub name: &'static str,
    /// Contents with a header line.
    pub text: String,
}

impl CsvFile {
    /// A file with a header and rows; fields are quoted where they need it.
    ///
    /// # Errors
    /// [`EncodeError`] names the file.
    pub(crate) fn new<const COLUMNS: usize>(
        name: &'static str,
        header: [&str; COLUMNS],
        rows: impl IntoIterator<Item = [String; COLUMNS]>,
    ) -> Result<Self, EncodeError> {
        let refused = |reason: String| EncodeError { what: name, reason };
        let mut writer = csv::Writer::from_writer(Vec::new());
        let written = writer.write_record(header);
        written.map_err(|error| refused(error.to_string()))?;
        for row in rows {
            let written = writer.write_record(row);
            written.map_err(|error| refused(error.to_string()))?;
        }
        let bytes = writer.into_inner();
        let bytes = bytes.map_err(|error| refused(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|error| refused(error.to_string()))?;
        Ok(Self { name, text })
    }
}

/// A field as it prints itself.
pub(crate) fn field(value: impl Display) -> String {
    value.to_string()
}

/// A number at full precision; an empty field when it is not finite.
pub(crate) fn finite(value: f64) -> String {
    if value.is_finite() {
        value.to_string()
    } else {
        String::new()
    }
}

/// A value, or an empty field for none.
pub(crate) fn optional(value: Option<impl Display>) -> String {
    value.map(field).unwrap_or_default()
}
