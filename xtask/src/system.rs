//! Folders of the workspace, programs on the path, and Debian packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// Where things are.
pub struct Workspace {
    /// The repository.
    pub root: PathBuf,
    /// Where the dev profile's programs are built, next to this one.
    pub programs: PathBuf,
    /// Where fetched tools are kept between runs.
    pub tools: PathBuf,
}

impl Workspace {
    /// Finds the folders from where this program lies, so that every way to set the target folder
    /// is respected.
    pub fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
        let root = root
            .context("xtask lies in a folder of the workspace")?
            .to_owned();
        let program = std::env::current_exe().context("finding this program")?;
        let programs = program
            .parent()
            .context("this program lies in a folder")?
            .to_owned();
        let target = programs
            .parent()
            .context("the profile lies in the target folder")?;
        Ok(Self {
            root,
            tools: target.join("xtask-tools"),
            programs,
        })
    }

    /// A command that starts in the repository.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// Cargo as a user would call it: without what the cargo that runs this program has set, which
    /// would make build scripts run again.
    pub fn cargo(&self) -> Command {
        let mut command = self.command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        command
    }
}

/// Whether a program answers.
pub fn has(program: &str) -> bool {
    process::quiet(Command::new(program).arg("--version"))
}

/// Installs Debian packages where that is possible: as root, with apt-get. Says whether it did.
pub fn install_packages(packages: &[&str]) -> bool {
    let is_root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|id| id.stdout == b"0\n");
    if !is_root || !has("apt-get") {
        return false;
    }
    println!("installing {}", packages.join(" "));
    let install = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        process::quiet(
            command
                .env("DEBIAN_FRONTEND", "noninteractive")
                .args(arguments),
        )
    };
    let wanted: Vec<&str> = ["install", "-y", "--no-install-recommends"]
        .into_iter()
        .chain(packages.iter().copied())
        .collect();
    install(&wanted) || (install(&["update"]) && install(&wanted))
}
