//! Colours, on terminals only.

use std::io::IsTerminal;

/// What a piece of text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// It went well.
    Good,
    /// Worth a look.
    Warn,
    /// It went wrong.
    Bad,
    /// Less important.
    Dim,
    /// The thing itself.
    Strong,
    /// A number that matters.
    Accent,
}

impl Tone {
    /// All tones, in the order of their table markers.
    pub const ALL: [Self; 6] = [
        Self::Good,
        Self::Warn,
        Self::Bad,
        Self::Dim,
        Self::Strong,
        Self::Accent,
    ];

    const fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "1;31",
            Self::Dim => "2",
            Self::Strong => "1",
            Self::Accent => "36",
        }
    }
}

/// Paints, or leaves text as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Palette {
    on: bool,
}

impl Palette {
    /// Always with colours, for a picture of the terminal.
    pub const COLOURED: Self = Self { on: true };
    /// Never with colours.
    #[cfg(test)]
    pub const PLAIN: Self = Self { on: false };

    /// Colours if standard output is a terminal.
    pub fn stdout() -> Self {
        Self {
            on: wanted() && std::io::stdout().is_terminal(),
        }
    }

    /// Colours if standard error is a terminal.
    pub fn stderr() -> Self {
        Self {
            on: wanted() && std::io::stderr().is_terminal(),
        }
    }

    /// Whether it paints.
    pub const fn is_on(self) -> bool {
        self.on
    }

    /// The text in a tone.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        format!("{}{text}{}", self.begin(tone), self.end())
    }

    /// A text with a remark below it, if there is one.
    pub fn with_remark(self, text: String, remark: Option<&str>) -> String {
        match remark {
            Some(remark) => format!("{text}\n{}", self.paint(Tone::Dim, remark)),
            None => text,
        }
    }

    /// What switches a tone on.
    pub(super) fn begin(self, tone: Tone) -> String {
        if self.on {
            format!("\x1b[{}m", tone.code())
        } else {
            String::new()
        }
    }

    /// What switches all tones off.
    pub(super) const fn end(self) -> &'static str {
        if self.on { "\x1b[0m" } else { "" }
    }
}

/// `NO_COLOR` (no-color.org) and terminals that can't.
fn wanted() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
