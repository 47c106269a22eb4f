//! The folder of a report.

use std::path::{Path, PathBuf};
use std::{fs, io};

use tributary_report::CsvFile;

use super::error::OutputError;
use super::file::OutputFile;

/// A folder that a report is written into.
#[derive(Clone, Copy, Debug)]
pub struct ReportFolder<'p> {
    path: &'p Path,
}

impl<'p> ReportFolder<'p> {
    /// Makes the folder where it is not there.
    ///
    /// # Errors
    /// [`OutputError::Write`] names it.
    pub fn create(path: &'p Path) -> Result<Self, OutputError> {
        match fs::create_dir_all(path) {
            Ok(()) => Ok(Self { path }),
            Err(source) => Err(OutputError::Write {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Writes one file and says where; a file of this name is replaced.
    ///
    /// # Errors
    /// [`OutputError::Write`] names it.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, OutputError> {
        let path = self.path.join(name);
        match OutputFile::write(&path, text.as_bytes()) {
            Ok(()) => Ok(path),
            Err(source) => Err(OutputError::Write { path, source }),
        }
    }

    /// Writes tables and says where, in their order.
    ///
    /// # Errors
    /// [`OutputError::Write`] names the first that can't be written.
    pub fn write_tables(&self, tables: &[CsvFile]) -> Result<Vec<PathBuf>, OutputError> {
        let written = tables
            .iter()
            .map(|table| self.write(table.name, &table.text));
        written.collect()
    }
}

/// Makes a folder where it is not there, and checks that files can be made in it: a report that can't be
/// written must not cost the work before it.
///
/// # Errors
/// What the operating system says.
pub fn prepare_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    tempfile::NamedTempFile::new_in(folder).map(drop)
}
