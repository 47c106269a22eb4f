//! Plots as SVG, drawn by hand: no text or line depends on anything outside the drawing.
//!
//! Colours are classes resolved by `plot.css`, which the page and the standalone pictures both carry.
//! Coordinates are in px at full size.

mod accuracy;
pub(crate) mod axes;
mod drift;
mod epsilon;
pub(crate) mod labels;
pub(crate) mod scale;
mod wire;

pub(super) use accuracy::{accuracy, journey};
pub(super) use drift::drift;
pub(super) use epsilon::epsilon;
pub(super) use wire::wire;

use maud::{Markup, html};

use super::{Report, RoundSeries};

/// Colours and strokes of all plots, light and dark.
pub(super) const STYLE: &str = include_str!("plot.css");
/// Number of region colours in [`STYLE`]; further regions start again.
const COLOURS: usize = 6;

/// A finished plot.
pub(crate) struct Plot {
    /// Unique in the page.
    pub(crate) id: &'static str,
    /// What it shows, for readers who can't see it.
    pub(crate) title: String,
    /// Width in px.
    pub(crate) width: f64,
    /// Height in px.
    pub(crate) height: f64,
    /// SVG elements.
    pub(crate) body: Markup,
}

impl Plot {
    /// The plot as an element of a page; scales with the page.
    pub(crate) fn inline(&self) -> Markup {
        let (width, height) = (self.width, self.height);
        html! {
            svg class="plot" role="img" aria-labelledby=(format!("{}-title", self.id))
                viewBox=(format!("0 0 {width} {height}")) style=(format!("--full:{width}px")) {
                title id=(format!("{}-title", self.id)) { (self.title) }
                (self.body)
            }
        }
    }

    /// The plot as a part of a larger drawing.
    pub(super) fn nested(&self, x: f64, y: f64) -> Markup {
        html! {
            svg x=(x) y=(y) width=(self.width) height=(self.height)
                viewBox=(format!("0 0 {} {}", self.width, self.height)) { (self.body) }
        }
    }
}

/// A plot that says that there is nothing to show.
fn empty(id: &'static str, title: String, width: f64, height: f64) -> Plot {
    saying(id, title, (width, height), "Not measured in this run")
}

/// A plot that is one sentence.
fn saying(id: &'static str, title: String, (width, height): (f64, f64), sentence: &str) -> Plot {
    let body = html! {
        rect class="band" x="0" y="0" width=(width) height=(height) rx="3" {}
        text class="note" x=(width / 2.0) y=(height / 2.0 + 4.0) text-anchor="middle" {
            (sentence)
        }
    };
    Plot {
        id,
        title,
        width,
        height,
        body,
    }
}

/// Regions in the order of the summary, then any others as they appear in the series.
fn regions(report: &Report) -> Vec<String> {
    let mut order: Vec<String> = report.summary.regions.clone();
    let accuracy = report.accuracy.iter().map(RoundSeries::label);
    let epsilon = report.epsilon.iter().map(RoundSeries::label);
    let drift = report.drift.iter().map(|point| point.region.clone());
    // where variants are compared, they are what colours tell apart
    if report
        .accuracy
        .iter()
        .any(|series| !series.variant.is_empty())
    {
        order.clear();
    }
    for name in accuracy.chain(drift).chain(epsilon) {
        if !name.is_empty() && !order.contains(&name) {
            order.push(name);
        }
    }
    order
}

/// The class that gives a region its colour; plain ink for a series that is no region.
fn colour(report: &Report, region: &str) -> String {
    match regions(report).iter().position(|other| other == region) {
        Some(index) => format!("c{}", index % COLOURS),
        None => "ink".into(),
    }
}

/// A coordinate with one decimal.
pub(crate) fn px(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.1}")
    } else {
        "0".into()
    }
}

/// Straight lines through the places given; `None` lifts the pen.
pub(crate) fn polyline(places: impl Iterator<Item = Option<(f64, f64)>>) -> String {
    let mut path = String::new();
    let mut drawing = false;
    for place in places {
        match place {
            Some((x, y)) => {
                path.push(if drawing { 'L' } else { 'M' });
                path.push_str(&format!("{} {}", px(x), px(y)));
                drawing = true;
            }
            None => drawing = false,
        }
    }
    path
}
