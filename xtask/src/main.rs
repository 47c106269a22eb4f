//! The one entry point for chores.
//!
//! `cargo xtask test` runs every check of the repository in order, goes on after a failure so that
//! one run shows all of them, and ends with `N passed, N failed`. It fetches the tools that it needs
//! into the target folder; nothing needs the release profile.
//!
//! - [`sequence`]: steps, their headings and the closing line
//! - [`process`]: commands whose output is shown and kept
//! - [`counts`]: numbers of tests, read from what test runners print
//! - [`rust`]: format, lints, tests and documentation
//! - [`buf`]: buf's lint of the protos
//! - [`foreign`]: a gRPC client in Python against a running server
//! - [`mod@modules`]: the import graph of each crate and its circles
//! - [`paths`]: whether the files that the documents name are there
//! - [`system`]: programs and Debian packages
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod buf;
mod counts;
mod foreign;
mod modules;
mod paths;
mod process;
mod rust;
mod sequence;
mod system;

use std::process::ExitCode;

use anyhow::Result;
use sequence::{Outcome, Sequence};
use system::Workspace;

const HELP: &str = "\
Chores of Tributary.

Usage: cargo xtask COMMAND [ARGUMENTS]

Commands:
  test                format, modules, paths, lints, tests, doctests, documentation, protos, foreign client
  ci                  the same, but a check that can't run here is a failure
  bench [ARGUMENTS]   cargo bench; arguments are handed on
  modules [--arrows]  the import graph of each crate, its circles, long files and functions
  paths               whether the files that the documents name are there
  proto               the protos' own tests and buf's lint
  help                this text

Exit code: 0 when all is well, 1 when a check failed, 2 for a wrong command line.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut words = arguments.iter().map(String::as_str);
    let outcome = match (words.next(), words.next()) {
        (Some("test"), None) => test(Skips::Allowed),
        (Some("ci"), None) => test(Skips::Fail),
        (Some("bench"), _) => bench(&arguments[1..]),
        (Some("proto"), None) => proto(),
        (Some("modules"), None) => modules(false),
        (Some("modules"), Some("--arrows")) => modules(true),
        (Some("paths"), None) => missing(),
        (None | Some("help" | "--help" | "-h"), None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("xtask does not know {:?}\n\n{HELP}", arguments.join(" "));
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn missing() -> Result<ExitCode> {
    Ok(match paths::missing(&Workspace::find()?.root)? {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn modules(arrows: bool) -> Result<ExitCode> {
    let findings = modules::report(&Workspace::find()?.root, arrows)?;
    println!(
        "{} circles, {} long files, {} long functions",
        findings.circles, findings.long_files, findings.long_functions
    );
    Ok(if findings.circles == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Whether a check that can't run here is accepted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Skips {
    Allowed,
    Fail,
}

fn test(skips: Skips) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let mut sequence = Sequence::new(skips == Skips::Fail);
    sequence.step("format", || rust::format(&workspace));
    sequence.step("modules", || {
        let findings = modules::report(&workspace.root, false)?;
        Ok(Outcome::check(findings.circles == 0))
    });
    sequence.step("paths", || {
        Ok(Outcome::check(paths::missing(&workspace.root)? == 0))
    });
    sequence.step("lints", || rust::lints(&workspace));
    sequence.step("tests", || rust::tests(&workspace, &["--workspace"]));
    sequence.step("doctests", || rust::doctests(&workspace));
    sequence.step("documentation", || rust::documentation(&workspace));
    sequence.step("protos", || buf::lint(&workspace));
    sequence.step("foreign client", || foreign::check(&workspace));
    Ok(sequence.finish())
}

fn bench(arguments: &[String]) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let mut sequence = Sequence::new(true);
    sequence.step("benchmarks", || rust::benchmarks(&workspace, arguments));
    Ok(sequence.finish())
}

fn proto() -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let mut sequence = Sequence::new(false);
    sequence.step("tests", || {
        rust::tests(&workspace, &["--package", "tributary-proto"])
    });
    sequence.step("protos", || buf::lint(&workspace));
    Ok(sequence.finish())
}
