//! What is printed: an answer on standard output, everything else on standard error.

mod fit;
mod number;
mod style;
mod table;

use std::io::{IsTerminal, Write};

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

pub use number::{age, bytes, count, decimal, percent, short_digest};
pub use style::{Palette, Tone};
pub use table::{Align, Cell, Table};

/// How the answer is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables and sentences
    #[default]
    Human,
    /// One JSON document; one per line for streams
    Json,
}

/// Where the answer goes and how it looks there.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// Human or JSON.
    pub format: Format,
    /// Colours of standard output.
    pub colours: Palette,
    /// Colours of standard error.
    pub errors: Palette,
}

impl Output {
    /// Looks at the terminals and at `NO_COLOR`.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            colours: Palette::stdout(),
            errors: Palette::stderr(),
        }
    }

    /// Prints an answer: `value` as JSON, or what `human` makes of it.
    pub fn answer<T: Serialize>(
        &self,
        value: &T,
        human: impl FnOnce(&T, Palette) -> String,
    ) -> Result<()> {
        match self.format {
            Format::Json => self.line(&serde_json::to_string_pretty(value)?),
            Format::Human => self.prose(human(value, self.colours).trim_end()),
        }
    }

    /// Prints one line of a stream: `value` as JSON on one line, or `human`; an empty text prints
    /// nothing.
    pub fn event<T: Serialize>(
        &self,
        value: &T,
        human: impl FnOnce(Palette) -> String,
    ) -> Result<()> {
        match self.format {
            Format::Json => self.line(&serde_json::to_string(value)?),
            Format::Human => match human(self.colours) {
                text if text.is_empty() => Ok(()),
                text => self.prose(&text),
            },
        }
    }

    /// Whether progress is drawn: for people who watch a terminal.
    pub fn shows_progress(&self) -> bool {
        std::io::stderr().is_terminal()
    }

    /// Lines for people: they fit the terminal.
    fn prose(&self, text: &str) -> Result<()> {
        self.line(&fit::fitted(text, fit::columns(&std::io::stdout())))
    }

    fn line(&self, text: &str) -> Result<()> {
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{text}")?;
        Ok(stdout.flush()?)
    }
}

/// Writes a line for people to standard error, where it fits the terminal; a closed one is no reason to fail.
pub fn to_stderr(text: &str) {
    json_to_stderr(&for_stderr(text));
}

/// A line for people as it fits the terminal that standard error is.
pub fn for_stderr(text: &str) -> String {
    fit::fitted(text, fit::columns(&std::io::stderr()))
}

/// Writes a line as it is to standard error: JSON for scripts.
pub fn json_to_stderr(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Text of another machine without what could steer a terminal, on one line.
pub fn printable(text: &str) -> String {
    neutralised(text, |_| false)
}

/// The same for a text that may have several lines, such as an error that shows where a recipe is
/// wrong: new lines and tabs stay.
pub fn printable_lines(text: &str) -> String {
    neutralised(text, |letter| matches!(letter, '\n' | '\t'))
}

fn neutralised(text: &str, stays: impl Fn(char) -> bool) -> String {
    let harmless = |letter: char| match letter.is_control() && !stays(letter) {
        true => '\u{fffd}',
        false => letter,
    };
    text.chars().map(harmless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_texts_of_several_lines_keep_new_lines_and_nothing_keeps_other_control_characters() {
        let text = "a\tb\nc\r\x1b[31m\u{9b}\x07";
        assert_eq!(
            printable_lines(text),
            "a\tb\nc\u{fffd}\u{fffd}[31m\u{fffd}\u{fffd}"
        );
        assert_eq!(
            printable(text),
            "a\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}[31m\u{fffd}\u{fffd}"
        );
    }
}
