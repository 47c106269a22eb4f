//! Whether the files that the documents name are there.
//!
//! A word between backticks is taken for a path when it ends like a source or a document, or with a slash.
//! `{a,b}` stands for both. A path counts as there when it is one from the workspace's folder, or the end of
//! one: `run/actor.rs` stands for `coordinator/src/run/actor.rs`.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};

/// Documents that lead through the sources.
const DOCUMENTS: [&str; 3] = ["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md"];
/// Folders that hold nothing of ours.
const SKIPPED: [&str; 3] = ["target", ".git", "node_modules"];
/// How a path ends.
const ENDS: [&str; 6] = [".rs", ".md", ".toml", ".proto", ".py", "/"];

/// Prints every path that is named and not there, and counts them.
///
/// # Errors
/// When a document or folder can't be read.
pub fn missing(root: &Path) -> Result<usize> {
    let mut there = BTreeSet::new();
    collect(root, "", &mut there)?;
    let mut missing = 0;
    for document in DOCUMENTS {
        let path = root.join(document);
        if !path.is_file() {
            continue;
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {document}"))?;
        for named in named(&text) {
            if !is_there(&there, &named) {
                println!("{document}: `{named}` is not there");
                missing += 1;
            }
        }
    }
    Ok(missing)
}

/// All files and, with a slash at their end, folders below `folder`, from the root.
fn collect(folder: &Path, prefix: &str, there: &mut BTreeSet<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {prefix}"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        let path = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            let path = format!("{path}/");
            there.insert(format!("/{path}"));
            collect(&entry.path(), &path, there)?;
        } else {
            there.insert(format!("/{path}"));
        }
    }
    Ok(())
}

fn is_there(there: &BTreeSet<String>, named: &str) -> bool {
    let end = format!("/{named}");
    there.iter().any(|path| path.ends_with(&end))
}

/// The paths that a text names.
fn named(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut is_block = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_block = !is_block;
        }
        if is_block {
            continue;
        }
        for word in line.split('`').skip(1).step_by(2) {
            for path in expanded(word) {
                if is_path(&path) {
                    found.insert(path);
                }
            }
        }
    }
    found
}

fn is_path(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    ENDS.iter().any(|end| word.ends_with(end))
        && word.len() > 1
        && word.chars().all(plain)
        && !word.starts_with(['/', '.', '-'])
}

/// `a/{b,c}.rs` as `a/b.rs` and `a/c.rs`.
fn expanded(word: &str) -> Vec<String> {
    let Some((before, rest)) = word.split_once('{') else {
        return vec![word.to_owned()];
    };
    let Some((choices, after)) = rest.split_once('}') else {
        return vec![word.to_owned()];
    };
    let choices = choices.split(',').map(str::trim);
    choices
        .flat_map(|choice| expanded(&format!("{before}{choice}{after}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_backticks_that_look_like_paths_are_taken() {
        let text = "see `run/{actor,handle}.rs` and `RunState::apply`, `store/`, `--help`, not run/x.rs\n\
                    ```\n`made/up.rs`\n```\n";
        let expected = ["run/actor.rs", "run/handle.rs", "store/"];
        assert!(named(text).iter().eq(expected.iter()));
    }

    #[test]
    fn a_path_may_be_the_end_of_one_that_is_there() {
        let there = BTreeSet::from(["/coordinator/src/run/actor.rs".to_owned()]);
        assert!(is_there(&there, "run/actor.rs"));
        assert!(!is_there(&there, "un/actor.rs"));
        assert!(!is_there(&there, "run/actor"));
    }
}
