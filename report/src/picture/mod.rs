//! Standalone SVG files of terminal output, for a README or a slide. They carry their own colours and
//! refer to nothing.

mod ansi;
mod terminal;

pub use terminal::{TerminalOptions, terminal};
