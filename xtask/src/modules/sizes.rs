//! Lines of files and functions against the limits.

use super::source::Crate;

/// Lines that a file may have.
const FILE: usize = 400;
/// Lines that a function may have at the most.
const FUNCTION: usize = 60;
/// Lines that nine of ten functions stay below.
const MOST: usize = 30;

/// Prints the files above the limit and counts them.
pub fn files(krate: &Crate) -> usize {
    let long = krate.files.iter().filter_map(|file| {
        let lines = file.text.lines().count();
        (lines > FILE).then_some((file, lines))
    });
    long.map(|(file, lines)| println!("  {}: {lines} lines, more than {FILE}", file.path))
        .count()
}

/// Lengths of functions, with where they are.
#[derive(Default)]
pub struct Functions {
    lengths: Vec<(usize, String)>,
}

impl Functions {
    /// Adds those of a crate.
    pub fn add(&mut self, krate: &Crate) {
        for file in &krate.files {
            for (name, lines) in &file.functions {
                self.lengths
                    .push((*lines, format!("{}: {name}", file.path)));
            }
        }
    }

    /// Prints the share of short ones and every one above the limit; returns how many those are.
    pub fn print(&self) -> usize {
        let short = self.lengths.iter().filter(|(lines, _)| *lines < MOST);
        println!(
            "{} functions, {:.1} % below {MOST} lines",
            self.lengths.len(),
            100.0 * short.count() as f64 / self.lengths.len().max(1) as f64
        );
        let long = self.lengths.iter().filter(|(lines, _)| *lines > FUNCTION);
        long.map(|(lines, place)| println!("  {place}: {lines} lines, more than {FUNCTION}"))
            .count()
    }
}
