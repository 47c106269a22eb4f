//! From a path in a module to the file that defines what it names.

use super::source::{Crate, Meaning};

/// More steps than any honest chain of names that are passed on.
const DEPTH: usize = 24;

/// The file that defines what `path` names in module `at`; nothing for what lies outside of the crate.
pub fn file_of(krate: &Crate, at: usize, path: &[String]) -> Option<usize> {
    if let [only] = path
        && matches!(krate.modules[at].names.get(only), Some(Meaning::Module(_)))
    {
        return None; // a variable that is called like a module: nothing else is one word long
    }
    let found = start(krate, at, path, DEPTH)?;
    Some(krate.modules[found].file)
}

/// The module that defines it. The first step may be a keyword or a name in scope.
fn start(krate: &Crate, at: usize, path: &[String], depth: usize) -> Option<usize> {
    let depth = depth.checked_sub(1)?;
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" | "$crate" => walk(krate, 0, rest, depth),
        "self" => walk(krate, at, rest, depth),
        "super" => walk(krate, krate.modules[at].parent?, rest, depth),
        "Self" => None,
        _ => walk(krate, at, path, depth),
    }
}

fn walk(krate: &Crate, at: usize, path: &[String], depth: usize) -> Option<usize> {
    let depth = depth.checked_sub(1)?;
    let Some((first, rest)) = path.split_first() else {
        return Some(at);
    };
    if first == "super" {
        return walk(krate, krate.modules[at].parent?, rest, depth);
    }
    match krate.modules[at].names.get(first) {
        Some(Meaning::Module(child)) => walk(krate, *child, rest, depth),
        Some(Meaning::Defined) => Some(at),
        Some(Meaning::Alias(target)) => {
            let mut whole = target.clone();
            whole.extend_from_slice(rest);
            start(krate, at, &whole, depth)
        }
        None => krate.modules[at]
            .globs
            .iter()
            .filter_map(|glob| {
                let module = start(krate, at, glob, depth)?;
                walk(krate, module, path, depth)
            })
            .next(),
    }
}
