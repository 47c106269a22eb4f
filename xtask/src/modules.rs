//! The import graph of each crate and its circles, read from the sources.
//!
//! A node is a file. An arrow from one file to another says that code in the first names something
//! that the second defines; a name that is passed on (`pub use`) counts for the file that defines it,
//! not for the one that passes it on. Tests are left out. What macros make, and methods that are called
//! without naming their type, can't be seen.
//!
//! - [`source`]: the modules of a crate, what each defines and what it names
//! - [`resolve`]: from a name to the file that defines it
//! - [`graph`]: circles in the arrows
//! - [`sizes`]: lines of files and of functions

mod graph;
mod resolve;
mod sizes;
mod source;

use std::path::Path;

use anyhow::{Context, Result};
use graph::Graph;
use source::Crate;

/// What was found in the crates of a workspace.
#[derive(Default)]
pub struct Findings {
    /// Circles of files, with the crate's name in front.
    pub circles: usize,
    /// Files above the limit of lines.
    pub long_files: usize,
    /// Functions above the limit of lines.
    pub long_functions: usize,
}

/// Prints the graph of every crate below `root` and counts what is against the rules; with `arrows`
/// every single one is printed.
///
/// # Errors
/// When a source can't be read or is no Rust.
pub fn report(root: &Path, arrows: bool) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut functions = sizes::Functions::default();
    for folder in source::members(root)? {
        let name = folder.clone();
        for entry in source::roots(&root.join(&folder)) {
            let krate = Crate::read(root, &entry)
                .with_context(|| format!("reading {}", entry.display()))?;
            let graph = Graph::of(&krate);
            let circles = graph.circles();
            if krate.files.len() > 1 {
                println!(
                    "{name:<14} {:>4} files {:>5} imports {:>3} circles",
                    krate.files.len(),
                    graph.arrows(),
                    circles.len()
                );
            }
            if arrows {
                graph.print();
            }
            for circle in &circles {
                println!("  circle of {} files:", circle.files.len());
                for step in &circle.shortest {
                    println!("    {step}");
                }
                let others = circle.files.join(" ");
                println!("    all: {others}");
            }
            findings.circles += circles.len();
            findings.long_files += sizes::files(&krate);
            functions.add(&krate);
        }
    }
    findings.long_functions = functions.print();
    Ok(findings)
}
