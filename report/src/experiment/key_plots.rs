//! The plots of a report as one standalone picture, for a README or a slide.

use maud::{Markup, PreEscaped, html};

use super::{Report, plots};
use crate::number::{percent, power_of_ten, three_digits};
use crate::plot::Plot;
use crate::style::PLOT;

/// Colours of a standalone picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Appearance {
    /// Follows the reader's system.
    #[default]
    Adaptive,
    /// Always light.
    Light,
    /// Always dark.
    Dark,
}

const WIDTH: f64 = 1000.0;
const HALF_WIDTH: f64 = 480.0;
const MARGIN: f64 = 44.0;

/// Accuracy, drift, epsilon, and bytes of a report in one SVG file, 1,088 px wide.
pub fn key_plots(report: &Report, appearance: Appearance) -> String {
    let mut column = Column {
        y: 118.0,
        parts: Vec::new(),
    };
    let accuracy = plots::accuracy(report, WIDTH);
    column.add("Held-out accuracy by round", &accuracy, 42.0, 24.0);
    if !report.drift.is_empty() {
        let drift = plots::drift(report, WIDTH);
        column.add(
            "Drift statistic divided by its threshold",
            &drift,
            46.0,
            18.0,
        );
    }
    column.add_pair(
        (
            "\u{3b5} spent on the most charged device",
            &plots::epsilon(report, HALF_WIDTH),
        ),
        (
            "Bytes on the wire per round",
            &plots::wire(report, HALF_WIDTH),
        ),
    );
    let (width, y) = (WIDTH + 2.0 * MARGIN, column.y);
    html! {
        svg xmlns="http://www.w3.org/2000/svg" class="drawing" role="img" width=(width) height=(y)
            viewBox=(format!("0 0 {width} {y}")) aria-label=(report.title) {
            style { (PreEscaped(style(appearance))) }
            rect width=(width) height=(y) rx="10" fill="var(--paper)" {}
            text class="serif" x=(MARGIN) y="62" font-size="30" { (report.title) }
            text x=(MARGIN) y="90" { (byline(report)) }
            @for part in column.parts { (part) }
        }
    }
    .into_string()
}

/// Plots below each other, each with a heading.
struct Column {
    /// Where the next heading goes.
    y: f64,
    parts: Vec<Markup>,
}

impl Column {
    /// A plot of the whole width, `above` below the line of its heading and with room `below` it.
    fn add(&mut self, title: &str, plot: &Plot, above: f64, below: f64) {
        self.parts.push(heading(MARGIN, self.y, title, WIDTH));
        self.parts.push(plot.nested(MARGIN, self.y + above));
        self.y += above + plot.height + below;
    }

    /// Two plots of half the width, side by side.
    fn add_pair(&mut self, left: (&str, &Plot), right: (&str, &Plot)) {
        let middle = MARGIN + WIDTH - HALF_WIDTH;
        self.parts.push(heading(MARGIN, self.y, left.0, HALF_WIDTH));
        self.parts
            .push(heading(middle, self.y, right.0, HALF_WIDTH));
        self.parts.push(left.1.nested(MARGIN, self.y + 42.0));
        self.parts.push(right.1.nested(middle, self.y + 42.0));
        self.y += 42.0 + left.1.height.max(right.1.height) + 22.0;
    }
}

/// A line with a heading below it.
fn heading(x: f64, y: f64, text: &str, width: f64) -> Markup {
    html! {
        line class="base" x1=(x) x2=(x + width) y1=(y) y2=(y) {}
        text class="serif" x=(x) y=(y + 27.0) font-size="19" { (text) }
    }
}

/// The headline numbers that were measured, in one line.
fn byline(report: &Report) -> String {
    let summary = &report.summary;
    let accuracy = &summary.accuracy;
    let privacy = &summary.privacy;
    let mut parts = Vec::new();
    for (name, value) in [
        ("trained", accuracy.trained),
        ("drifted", accuracy.drifted),
        ("recovered", accuracy.recovered),
        ("8-bit", accuracy.recovered_int8),
    ] {
        if value.is_some_and(f64::is_finite) {
            parts.push(format!("{name} {}%", percent(value)));
        }
    }
    if privacy.epsilon.is_finite() {
        let mut text = format!("\u{3b5} = {}", three_digits(privacy.epsilon));
        text += &format!(" at \u{3b4} = {}", power_of_ten(privacy.delta));
        if !privacy.adjacency.is_empty() {
            text += &format!(", {}", privacy.adjacency.replace('-', " "));
        }
        parts.push(text);
    }
    if report.seed.is_some() {
        parts.push("NOT PRIVATE: seeded run".into());
    }
    parts.join("  \u{b7}  ")
}

fn style(appearance: Appearance) -> String {
    let serif = ".drawing .serif{font-family:\"Iowan Old Style\",P052,\"Palatino Linotype\",Palatino,\
                 Georgia,\"Times New Roman\",serif;font-size:inherit;fill:var(--ink)}\
                 .drawing text[font-size=\"30\"]{font-size:30px;letter-spacing:-.3px}\
                 .drawing text[font-size=\"19\"]{font-size:19px}";
    let query = "@media (prefers-color-scheme:dark){";
    let chosen = match (appearance, PLOT.split_once(query)) {
        (Appearance::Adaptive, _) | (_, None) => PLOT.to_owned(),
        // the block ends with the first doubled brace
        (appearance, Some((light, rest))) => match rest.split_once("}}") {
            Some((_, rest)) if appearance == Appearance::Light => format!("{light}{rest}"),
            Some((dark, rest)) => format!("{light}{dark}}}{rest}"),
            None => PLOT.to_owned(),
        },
    };
    chosen + serif
}
