//! Folders that a flag names.

use std::path::Path;

use anyhow::{Context as _, Result};
use tributary_experiments::output::prepare_folder;

/// Refuses a folder in which no report could be written, before the work and not after it.
pub fn must_be_writable(flag: &str, folder: &Path) -> Result<()> {
    prepare_folder(folder)
        .with_context(|| format!("{flag} {}: it can't be written", folder.display()))
}
