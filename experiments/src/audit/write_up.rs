//! The outcome as HTML, JSON and CSV.
//!
//! Keys and columns are stable. `report.json` is an [`AuditOutcome`]; its fields say what they hold.
//! [`csv_files`] lists the columns of the tables.

use std::path::{Path, PathBuf};

use tributary_report::audit::{AuditOutcome, csv_files, page};
use tributary_report::json;

use super::AuditError;
use crate::output::{OutputError, ReportFolder};

/// Where [`write_audit`] put things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenAudit {
    /// `report.html`.
    pub page: PathBuf,
    /// `report.json`.
    pub json: PathBuf,
    /// The CSV files.
    pub csv: Vec<PathBuf>,
}

/// Writes `report.html`, `report.json` and the CSV files into `folder`, which is made when it is not
/// there. Existing files of these names are replaced.
///
/// # Errors
/// [`AuditError::Report`].
pub fn write_audit(outcome: &AuditOutcome, folder: &Path) -> Result<WrittenAudit, AuditError> {
    let folder = ReportFolder::create(folder)?;
    let json = json(outcome).map_err(OutputError::from)?;
    let tables = csv_files(outcome).map_err(OutputError::from)?;
    Ok(WrittenAudit {
        page: folder.write("report.html", &page(outcome))?,
        json: folder.write("report.json", &json)?,
        csv: folder.write_tables(&tables)?,
    })
}
