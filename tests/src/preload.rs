//! Libraries that stand between a program and its disk, loaded with `LD_PRELOAD`: they need no rights.
//!
//! They are small C files, compiled when they are needed with the `cc` that Rust links with. Whoever
//! can't compile them can't run the tests that use them, and those fail.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What both include.
const BELOW: &str = include_str!("../preload/below.h");
/// A disk of a chosen size.
const FULL_DISK: &str = include_str!("../preload/full_disk.c");
/// A record of what was written and what was synced.
const POWER_CUT: &str = include_str!("../preload/power_cut.c");

/// A disk of a chosen size for everything that a program writes below one folder.
#[derive(Debug)]
pub struct SmallDisk {
    library: PathBuf,
    root: PathBuf,
    limit: PathBuf,
}

impl SmallDisk {
    /// A disk of `bytes` at `root`, which exists. `aside` takes the library and the size.
    ///
    /// # Errors
    /// When the library can't be built or a file can't be written.
    pub fn new(root: &Path, aside: &Path, bytes: u64) -> io::Result<Self> {
        let disk = Self {
            library: build("full_disk", FULL_DISK, aside)?,
            root: root.canonicalize()?,
            limit: aside.canonicalize()?.join("full_disk.limit"),
        };
        disk.resize(bytes)?;
        Ok(disk)
    }

    /// Changes the size; running programs see it at their next write. Less than what is there means
    /// that no file can grow.
    ///
    /// # Errors
    /// When the file that says it can't be written.
    pub fn resize(&self, bytes: u64) -> io::Result<()> {
        self.say(&bytes.to_string())
    }

    /// Lets every write and every sync fail, until it is resized.
    ///
    /// # Errors
    /// When the file that says it can't be written.
    pub fn break_down(&self) -> io::Result<()> {
        self.say("-1")
    }

    /// By rename: a program that reads it meanwhile sees the old or the new size.
    fn say(&self, size: &str) -> io::Result<()> {
        let new = self.limit.with_extension("new");
        std::fs::write(&new, size)?;
        std::fs::rename(new, &self.limit)
    }

    /// What a program needs in its environment to see this disk.
    pub fn environment(&self) -> [(&'static str, &Path); 3] {
        [
            ("LD_PRELOAD", &self.library),
            ("FULL_DISK_ROOT", &self.root),
            ("FULL_DISK_LIMIT", &self.limit),
        ]
    }
}

/// Where a program's writes are recorded.
#[derive(Debug)]
pub struct Recorder {
    library: PathBuf,
}

impl Recorder {
    /// Builds the library into `aside`.
    ///
    /// # Errors
    /// When it can't be built.
    pub fn new(aside: &Path) -> io::Result<Self> {
        let library = build("power_cut", POWER_CUT, aside)?;
        Ok(Self { library })
    }

    /// What a program needs in its environment so that all it writes below `root`, and its marks in
    /// the file `marks`, are recorded in `log`. All three are absolute.
    pub fn environment<'p>(
        &'p self,
        root: &'p Path,
        marks: &'p Path,
        log: &'p Path,
    ) -> [(&'static str, &'p Path); 4] {
        [
            ("LD_PRELOAD", &self.library),
            ("POWER_CUT_ROOT", root),
            ("POWER_CUT_MARKS", marks),
            ("POWER_CUT_LOG", log),
        ]
    }
}

/// Compiles `source` into `folder/NAME.so`.
fn build(name: &str, source: &str, folder: &Path) -> io::Result<PathBuf> {
    let folder = folder.canonicalize()?;
    let code = folder.join(format!("{name}.c"));
    let library = folder.join(format!("{name}.so"));
    std::fs::write(&code, source)?;
    std::fs::write(folder.join("below.h"), BELOW)?;
    let compiled = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-o"])
        .args([&library, &code])
        .args(["-ldl", "-lpthread"])
        .output()?;
    if compiled.status.success() {
        return Ok(library);
    }
    let message = String::from_utf8_lossy(&compiled.stderr);
    Err(io::Error::other(format!(
        "cc can't build {name}: {message}"
    )))
}
