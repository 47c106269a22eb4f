//! buf's STANDARD lint of the protos, with the buf that the npm registry packages.
//!
//! The proto crate's own test (`proto/tests/style.rs`) checks the same style without any tool.

use anyhow::Result;

use crate::process;
use crate::sequence::Outcome;
use crate::system::{Workspace, has};

/// One exact version: new rules arrive when this line changes.
const PACKAGE: &str = "@bufbuild/buf@1.75.0";

/// Lints `proto/`.
pub fn lint(workspace: &Workspace) -> Result<Outcome> {
    let folder = workspace.tools.join(PACKAGE.replace(['@', '/'], "-"));
    let buf = folder.join("node_modules/.bin/buf");
    if !buf.exists() {
        if !has("npm") {
            return Ok(Outcome::Skipped(
                "npm is not installed, so buf can't be fetched".into(),
            ));
        }
        std::fs::create_dir_all(&folder)?;
        println!("fetching {PACKAGE}");
        let mut npm = workspace.command("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]);
        if !process::quiet(npm.arg(&folder).arg(PACKAGE)) {
            return Ok(Outcome::Skipped(format!("npm can't fetch {PACKAGE}")));
        }
    }
    let mut lint = workspace.command(buf);
    Ok(Outcome::check(process::run(lint.args(["lint", "proto"]))?))
}
