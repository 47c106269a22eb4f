//! Steps in order, each with a heading, its time and its result.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::counts::Counts;

/// How a step ended.
pub enum Outcome {
    /// It ran; a check without tests of its own counts as one.
    Ran(Counts),
    /// It can't run on this machine, for this reason.
    Skipped(String),
}

impl Outcome {
    /// A step that is one check.
    pub fn check(passed: bool) -> Self {
        Self::Ran(if passed { Counts::PASS } else { Counts::FAIL })
    }
}

struct Line {
    name: &'static str,
    result: String,
    took: Duration,
    good: bool,
}

/// Runs steps and keeps their results.
pub struct Sequence {
    skips_fail: bool,
    colours: bool,
    lines: Vec<Line>,
    total: Counts,
    skipped: u64,
}

impl Sequence {
    /// An empty sequence; with `skips_fail` a skipped step is a failed one.
    pub fn new(skips_fail: bool) -> Self {
        Self {
            skips_fail,
            colours: colours(),
            lines: Vec::new(),
            total: Counts::default(),
            skipped: 0,
        }
    }

    /// Runs a step under its heading. A step that can't be started is a failed one.
    pub fn step(&mut self, name: &'static str, run: impl FnOnce() -> Result<Outcome>) {
        println!("\n{}", self.paint("1", &format!("==> {name}")));
        let begin = Instant::now();
        let outcome = run().unwrap_or_else(|error| {
            println!("{name}: {error:#}");
            Outcome::check(false)
        });
        let (result, good) = match outcome {
            Outcome::Ran(counts) => {
                self.total.add(counts);
                (counts.to_string(), counts.failed == 0)
            }
            Outcome::Skipped(reason) if self.skips_fail => {
                self.total.add(Counts::FAIL);
                (format!("can't run: {reason}"), false)
            }
            Outcome::Skipped(reason) => {
                println!("skipped: {reason}");
                self.skipped += 1;
                (format!("skipped: {reason}"), true)
            }
        };
        let line = Line {
            name,
            result,
            took: begin.elapsed(),
            good,
        };
        println!("{}", self.show(&line));
        self.lines.push(line);
    }

    /// Prints all results and the closing line.
    pub fn finish(self) -> ExitCode {
        println!("\n{}", self.paint("1", "==> summary"));
        for line in &self.lines {
            println!("{}", self.show(line));
        }
        let skipped = match self.skipped {
            0 => String::new(),
            skipped => format!(", {skipped} skipped"),
        };
        println!(
            "\n{} passed, {} failed{skipped}",
            self.total.passed, self.total.failed
        );
        if self.total.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    fn show(&self, line: &Line) -> String {
        let (colour, mark) = if line.good {
            ("32", "ok  ")
        } else {
            ("31", "FAIL")
        };
        let mark = self.paint(colour, mark);
        format!(
            "{mark} {:<15} {:>7.1} s  {}",
            line.name,
            line.took.as_secs_f64(),
            line.result
        )
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Whether colours are welcome: on a terminal, unless `NO_COLOR` is set to something.
pub fn colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::io::stdout().is_terminal()
}
