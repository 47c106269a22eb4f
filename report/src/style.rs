//! The style of pages and pictures. They carry it with them: nothing is fetched.

/// Colours and strokes of all plots, light and dark.
pub(crate) const PLOT: &str = include_str!("plot.css");
/// Number of series colours in [`PLOT`]; further series start again.
pub(crate) const COLOURS: usize = 6;

const PAGE: &str = include_str!("page.css");

/// The style of every page: colours, then the sheet.
pub(crate) fn page() -> String {
    [PLOT, PAGE].concat()
}
