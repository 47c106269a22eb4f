//! The outcome as HTML, JSON and CSV.

use std::path::{Path, PathBuf};

use tributary_report::attacks::{AttackOutcome, csv_file, page};
use tributary_report::json;

use super::AttackError;
use crate::output::{OutputError, ReportFolder};

/// Where [`write_attacks`] put things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenAttacks {
    /// `report.html`.
    pub page: PathBuf,
    /// `report.json`.
    pub json: PathBuf,
    /// `attacks.csv`: one line per setting, pipeline and attack.
    pub csv: PathBuf,
}

/// Writes `report.html`, `report.json` and `attacks.csv` into `folder`, which is made when it is not
/// there. Existing files of these names are replaced.
///
/// # Errors
/// [`AttackError::Report`].
pub fn write_attacks(
    outcome: &AttackOutcome,
    folder: &Path,
) -> Result<WrittenAttacks, AttackError> {
    let folder = ReportFolder::create(folder)?;
    let json = json(outcome).map_err(OutputError::from)?;
    let table = csv_file(outcome).map_err(OutputError::from)?;
    Ok(WrittenAttacks {
        page: folder.write("report.html", &page(outcome))?,
        json: folder.write("report.json", &json)?,
        csv: folder.write(table.name, &table.text)?,
    })
}
