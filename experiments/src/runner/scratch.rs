//! Temporary folders that are gone when the process ends, however it ends in good order.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the removal of one folder is tried.
const LONGEST: Duration = Duration::from_secs(1);
/// Time between two tries.
const PAUSE: Duration = Duration::from_millis(5);
/// So many times in a row it must not be there.
const QUIET: u32 = 5;

/// Folders that are in use.
static OPEN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// A temporary folder, removed with all that is in it when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A new, empty folder whose name begins with `tributary-`.
    pub(crate) fn new() -> std::io::Result<Self> {
        // held meanwhile: a folder that is there is on the list
        let mut open = open();
        let folder = tempfile::Builder::new().prefix("tributary-").tempdir()?;
        let path = folder.keep();
        open.insert(path.clone());
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

/// Removes the temporary folders that are left, and lets nobody make another: for the end of a process.
pub fn remove_leftovers() {
    let mut open = open();
    for folder in std::mem::take(&mut *open) {
        remove_in_spite_of_writers(&folder);
    }
    // who asks for a folder now waits for the end of the process
    std::mem::forget(open);
}

/// Removes a folder into which threads may still write, or which they may make again, until it has been
/// gone for a while. There is nobody to tell when it stays.
fn remove_in_spite_of_writers(folder: &Path) {
    let until = Instant::now() + LONGEST;
    let mut gone = 0;
    while gone < QUIET && Instant::now() < until {
        let _ = std::fs::remove_dir_all(folder);
        std::thread::sleep(PAUSE);
        gone = if folder.exists() { 0 } else { gone + 1 };
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
