//! Temporary folders that are gone when the process ends, however it ends in good order.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Folders that are in use.
static OPEN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// A temporary folder, removed with all that is in it when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A new, empty folder whose name begins with `tributary-`.
    pub(crate) fn new() -> std::io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("tributary-").tempdir()?;
        let path = folder.keep();
        open().insert(path.clone());
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // threads that still write may put a file into it: the end of the process tries again
        if std::fs::remove_dir_all(&self.0).is_ok() {
            open().remove(&self.0);
        }
    }
}

fn open() -> std::sync::MutexGuard<'static, BTreeSet<PathBuf>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the temporary folders that are left: for the end of a process, when nothing runs any more.
pub fn remove_leftovers() {
    for folder in std::mem::take(&mut *open()) {
        // there is nobody to tell, and nothing else to try
        let _ = std::fs::remove_dir_all(folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_gone_when_it_is_dropped_and_one_that_is_forgotten_at_the_end() {
        let folder = Scratch::new().unwrap();
        let path = folder.path().to_owned();
        std::fs::write(path.join("file"), b"x").unwrap();
        drop(folder);
        assert!(!path.exists());
        let forgotten = Scratch::new().unwrap();
        let path = forgotten.path().to_owned();
        std::mem::forget(forgotten);
        assert!(open().contains(&path));
        // as `remove_leftovers` does for all; other tests have folders of their own
        open().remove(&path);
        std::fs::remove_dir_all(&path).unwrap();
    }
}
