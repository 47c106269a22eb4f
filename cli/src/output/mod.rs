//! What is printed: an answer on standard output, everything else on standard error.

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
            Format::Human => self.line(human(value, self.colours).trim_end()),
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
                text => self.line(&text),
            },
        }
    }

    /// Whether progress is drawn: for people who watch a terminal.
    pub fn shows_progress(&self) -> bool {
        std::io::stderr().is_terminal()
    }

    fn line(&self, text: &str) -> Result<()> {
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{text}")?;
        Ok(stdout.flush()?)
    }
}

/// Writes a line to standard error; a closed one is no reason to fail.
pub fn to_stderr(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Text of another machine without what could steer a terminal.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| {
            if letter.is_control() {
                '\u{fffd}'
            } else {
                letter
            }
        })
        .collect()
}
