//! A gRPC client that nobody here wrote reads a running server: Python's grpcio, by reflection.

use anyhow::Result;

use crate::process;
use crate::sequence::Outcome;
use crate::system::{Workspace, has, install_packages};

const PACKAGES: [&str; 3] = [
    "grpcio==1.85.1",
    "grpcio-reflection==1.85.1",
    "grpcio-health-checking==1.85.1",
];

/// Starts `tributary serve` on free loopback ports and reads it from Python.
pub fn check(workspace: &Workspace) -> Result<Outcome> {
    let program = workspace.programs.join("tributary");
    // the tests have built it; built alone it would have other features, and half of the
    // dependencies would be compiled once more
    let is_built = program.exists();
    let build = ["build", "--quiet", "--package", "tributary"];
    if !is_built && !process::run(workspace.cargo().args(build))? {
        return Ok(Outcome::check(false));
    }
    let folder = workspace.tools.join(PACKAGES[0].replace("==", "-"));
    let python = folder.join("bin/python");
    let imports = "import grpc, grpc_reflection, grpc_health";
    if !process::quiet(workspace.command(&python).args(["-c", imports])) {
        if !has("python3") && !install_packages(&["python3", "python3-venv"]) {
            return Ok(Outcome::Skipped("python3 is not installed".into()));
        }
        std::fs::create_dir_all(&workspace.tools)?;
        let create = || {
            process::quiet(
                workspace
                    .command("python3")
                    .args(["-m", "venv", "--clear"])
                    .arg(&folder),
            )
        };
        if !(create() || (install_packages(&["python3-venv"]) && create())) {
            return Ok(Outcome::Skipped(
                "python3 can't make a virtual environment".into(),
            ));
        }
        println!("fetching {}", PACKAGES.join(" "));
        let mut pip = workspace.command(&python);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]);
        if !process::quiet(pip.args(PACKAGES)) {
            return Ok(Outcome::Skipped(format!(
                "pip can't fetch {}",
                PACKAGES.join(" ")
            )));
        }
    }
    let mut client = workspace.command(&python);
    client.arg("xtask/src/foreign_client.py").arg(program);
    Ok(Outcome::check(process::run(&mut client)?))
}
