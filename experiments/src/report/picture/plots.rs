//! The plots of a report as one picture.

use maud::{Markup, PreEscaped, html};

use crate::report::Report;
use crate::report::number::{percent, power_of_ten, three_digits};
use crate::report::plot::{self, STYLE};

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
    let mut y = 118.0;
    let mut parts: Vec<Markup> = Vec::new();
    let heading = |parts: &mut Vec<Markup>, x: f64, y: f64, text: &str, width: f64| {
        parts.push(html! {
            line class="base" x1=(x) x2=(x + width) y1=(y) y2=(y) {}
            text class="serif" x=(x) y=(y + 27.0) font-size="19" { (text) }
        });
    };
    let accuracy = plot::accuracy(report, WIDTH);
    heading(&mut parts, MARGIN, y, "Held-out accuracy by round", WIDTH);
    parts.push(accuracy.nested(MARGIN, y + 42.0));
    y += 42.0 + accuracy.height + 24.0;
    if !report.drift.is_empty() {
        let drift = plot::drift(report, WIDTH);
        heading(
            &mut parts,
            MARGIN,
            y,
            "Drift statistic divided by its threshold",
            WIDTH,
        );
        parts.push(drift.nested(MARGIN, y + 46.0));
        y += 46.0 + drift.height + 18.0;
    }
    let right = MARGIN + WIDTH - HALF_WIDTH;
    let (epsilon, wire) = (
        plot::epsilon(report, HALF_WIDTH),
        plot::wire(report, HALF_WIDTH),
    );
    heading(
        &mut parts,
        MARGIN,
        y,
        "\u{3b5} spent on the most charged device",
        HALF_WIDTH,
    );
    heading(
        &mut parts,
        right,
        y,
        "Bytes on the wire per round",
        HALF_WIDTH,
    );
    parts.push(epsilon.nested(MARGIN, y + 42.0));
    parts.push(wire.nested(right, y + 42.0));
    y += 42.0 + epsilon.height.max(wire.height) + 22.0;

    let width = WIDTH + 2.0 * MARGIN;
    html! {
        svg xmlns="http://www.w3.org/2000/svg" class="drawing" role="img" width=(width) height=(y)
            viewBox=(format!("0 0 {width} {y}")) aria-label=(report.title) {
            style { (PreEscaped(style(appearance))) }
            rect width=(width) height=(y) rx="10" fill="var(--paper)" {}
            text class="serif" x=(MARGIN) y="62" font-size="30" { (report.title) }
            text x=(MARGIN) y="90" { (byline(report)) }
            @for part in parts { (part) }
        }
    }
    .into_string()
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
    let chosen = match (appearance, STYLE.split_once(query)) {
        (Appearance::Adaptive, _) | (_, None) => STYLE.to_owned(),
        // the block ends with the first doubled brace
        (appearance, Some((light, rest))) => match rest.split_once("}}") {
            Some((_, rest)) if appearance == Appearance::Light => format!("{light}{rest}"),
            Some((dark, rest)) => format!("{light}{dark}}}{rest}"),
            None => STYLE.to_owned(),
        },
    };
    chosen + serif
}
