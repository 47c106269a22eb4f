//! What every plot is made of, as SVG by hand: no text or line depends on anything outside the
//! drawing.
//!
//! Colours are classes resolved by `plot.css`, which pages and standalone pictures both carry.
//! Coordinates are in px at full size.

pub(crate) mod axes;
pub(crate) mod labels;
pub(crate) mod scale;

mod drawing;
mod path;

pub(crate) use drawing::Plot;
pub(crate) use path::{polyline, px};
