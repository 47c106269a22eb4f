//! The report of an experiment as a folder of files.

use std::path::{Path, PathBuf};

use tributary_report::experiment::{Appearance, Report, csv_files, key_plots, page};
use tributary_report::json;

use super::error::OutputError;
use super::folder::ReportFolder;

/// Where [`write_all`] put things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// `report.html`.
    pub page: PathBuf,
    /// `report.json`.
    pub json: PathBuf,
    /// `report.svg`.
    pub picture: PathBuf,
    /// One file per series.
    pub csv: Vec<PathBuf>,
}

/// Writes `report.html`, `report.json`, `report.svg` and the CSV files into `folder`, which is made when
/// it is not there. Existing files of these names are replaced.
///
/// # Errors
/// [`OutputError`].
pub fn write_all(report: &Report, folder: &Path) -> Result<Written, OutputError> {
    let folder = ReportFolder::create(folder)?;
    let tables = csv_files(report)?;
    Ok(Written {
        page: folder.write("report.html", &page(report))?,
        json: folder.write("report.json", &json(report)?)?,
        picture: folder.write("report.svg", &key_plots(report, Appearance::Adaptive))?,
        csv: folder.write_tables(&tables)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_are_written_into_a_new_folder() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        let written = write_all(&Report::default(), &inner).unwrap();
        let single = [&written.page, &written.json, &written.picture];
        for path in single.into_iter().chain(&written.csv) {
            assert!(std::fs::metadata(path).unwrap().len() > 0, "{path:?}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_a_typed_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let error = write_all(&Report::default(), &file.join("inner")).unwrap_err();
        assert!(matches!(error, OutputError::Write { .. }), "{error}");
    }
}
