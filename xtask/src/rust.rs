//! Format, lints, tests and documentation of the workspace.

use std::process::Command;

use anyhow::Result;

use crate::counts::{Counts, count};
use crate::process;
use crate::sequence::{Outcome, colours};
use crate::system::Workspace;

/// Every file is formatted.
pub fn format(workspace: &Workspace) -> Result<Outcome> {
    check(workspace.cargo().args(["fmt", "--all", "--check"]))
}

/// No warning of the compiler or of clippy anywhere, tests and benchmarks included.
pub fn lints(workspace: &Workspace) -> Result<Outcome> {
    let mut clippy = workspace.cargo();
    check(clippy.args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]))
}

/// All tests of the packages but doctests, with nextest where it is installed.
pub fn tests(workspace: &Workspace, packages: &[&str]) -> Result<Outcome> {
    let mut cargo = workspace.cargo();
    if process::quiet(workspace.cargo().args(["nextest", "--version"])) {
        cargo.args(["nextest", "run", "--no-fail-fast", "--status-level", "slow"]);
    } else {
        cargo.args(["test", "--no-fail-fast", "--lib", "--bins", "--tests"]);
    }
    counted(cargo.args(packages))
}

/// The examples in the documentation run.
pub fn doctests(workspace: &Workspace) -> Result<Outcome> {
    counted(
        workspace
            .cargo()
            .args(["test", "--workspace", "--no-fail-fast", "--doc"]),
    )
}

/// The documentation builds, with all of its links.
pub fn documentation(workspace: &Workspace) -> Result<Outcome> {
    let mut doc = workspace.cargo();
    doc.env("RUSTDOCFLAGS", "--deny warnings");
    check(doc.args(["doc", "--workspace", "--no-deps"]))
}

/// Runs the benchmarks; arguments are handed to cargo.
pub fn benchmarks(workspace: &Workspace, arguments: &[String]) -> Result<Outcome> {
    let mut bench = workspace.cargo();
    bench.arg("bench");
    if !arguments
        .iter()
        .any(|word| word == "-p" || word.starts_with("--package"))
    {
        bench.arg("--workspace");
    }
    check(bench.args(arguments))
}

fn check(command: &mut Command) -> Result<Outcome> {
    Ok(Outcome::check(process::run(command)?))
}

fn counted(command: &mut Command) -> Result<Outcome> {
    if colours() {
        // its output goes through a pipe, which would take the colours
        command.env("CARGO_TERM_COLOR", "always");
    }
    let finished = process::run_kept(command)?;
    let counts: Counts = count(finished.lines.iter().map(String::as_str));
    Ok(Outcome::Ran(counts.with_exit(finished.succeeded)))
}
