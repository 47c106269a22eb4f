//! Numbers of tests, read from what test runners print.

use std::fmt;

/// How many checks passed and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Checks that passed.
    pub passed: u64,
    /// Checks that failed.
    pub failed: u64,
}

impl Counts {
    /// One check that passed.
    pub const PASS: Self = Self {
        passed: 1,
        failed: 0,
    };
    /// One check that failed.
    pub const FAIL: Self = Self {
        passed: 0,
        failed: 1,
    };

    /// Adds another count to this one.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    /// The same, with a failure of the runner itself (a build error, a crash) as one failed check.
    pub fn with_exit(mut self, succeeded: bool) -> Self {
        if !succeeded && self.failed == 0 {
            self.failed = 1;
        }
        self
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// Adds up the closing lines of `cargo test` (one per binary) or of nextest (one).
pub fn count<'a>(lines: impl IntoIterator<Item = &'a str>) -> Counts {
    let mut total = Counts::default();
    for line in lines {
        let plain = strip_colours(line);
        if let Some(counts) = closing_line(&plain) {
            total.add(counts);
        }
    }
    total
}

fn closing_line(line: &str) -> Option<Counts> {
    let rest = match line.strip_prefix("test result: ") {
        Some(rest) => rest,
        // nextest shows the output of failed tests indented: their own closing lines do not count
        None => {
            line.trim_start()
                .strip_prefix("Summary [")?
                .split_once("run: ")?
                .1
        }
    };
    let mut counts = Counts::default();
    let words: Vec<&str> = rest
        .split([' ', ';', ',', '('])
        .filter(|word| !word.is_empty())
        .collect();
    for pair in words.windows(2) {
        let Ok(number) = pair[0].parse::<u64>() else {
            continue;
        };
        match pair[1] {
            "passed" => counts.passed += number,
            // nextest names tests that ran into its time limit apart
            "failed" | "timed" => counts.failed += number,
            _ => {}
        }
    }
    Some(counts)
}

/// Without escape sequences of the form `ESC [ ... letter`.
fn strip_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter == '\x1b' {
            letters.by_ref().skip(1).find(char::is_ascii_alphabetic);
        } else {
            plain.push(letter);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: u64, failed: u64) -> Counts {
        Counts { passed, failed }
    }

    #[test]
    fn closing_lines_of_cargo_test_are_added_up() {
        let lines = [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out",
            "test result: FAILED. 1 passed; 2 failed; 4 ignored; 0 measured; 0 filtered out",
        ];
        assert_eq!(count(lines), counts(4, 2));
    }

    #[test]
    fn the_summary_of_nextest_is_read_with_and_without_colours() {
        let plain = "     Summary [   1.250s] 12 tests run: 9 passed (2 slow), 2 failed, 1 timed out, 3 skipped";
        assert_eq!(count([plain]), counts(9, 3));
        let coloured = "\x1b[32;1m     Summary\x1b[0m [   0.012s] \x1b[1m7\x1b[0m tests run: \
                        \x1b[1m7\x1b[0m \x1b[32;1mpassed\x1b[0m, \x1b[1m0\x1b[0m \x1b[33;1mskipped\x1b[0m";
        assert_eq!(count([coloured]), counts(7, 0));
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(
            count(["12 passed, 3 failed", "Summary of the run: 5 passed"]),
            counts(0, 0)
        );
    }

    #[test]
    fn a_runner_that_breaks_before_its_tests_is_one_failure() {
        assert_eq!(counts(0, 0).with_exit(false), counts(0, 1));
        assert_eq!(counts(5, 2).with_exit(false), counts(5, 2));
        assert_eq!(counts(5, 0).with_exit(true), counts(5, 0));
    }
}
