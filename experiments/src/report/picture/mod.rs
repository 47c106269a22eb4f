//! Standalone SVG files, for a README or a slide. They carry their own colours and refer to nothing.

mod ansi;
mod plots;
mod terminal;

pub use plots::{Appearance, key_plots};
pub use terminal::{TerminalOptions, terminal};
