//! Epsilon spent by round.

use maud::html;

use super::axes::{Area, grid, whole_axis};
use super::labels::{label_room, spread};
use super::scale::{Scale, ticks};
use super::{Plot, colour, empty, px, saying};
use crate::report::number::three_digits;
use crate::report::{Report, RoundSeries};

/// Cumulative epsilon as steps, below its cap.
pub(in crate::report) fn epsilon(report: &Report, width: f64) -> Plot {
    let title = "Epsilon spent on the most charged device, by round".to_owned();
    let shown: Vec<&RoundSeries> = report
        .epsilon
        .iter()
        .filter(|series| series.is_shown())
        .collect();
    let without_noise: Vec<String> = report
        .epsilon
        .iter()
        .filter(|series| !series.is_shown())
        .map(RoundSeries::label)
        .collect();
    if shown.is_empty() && !without_noise.is_empty() {
        let sentence = "No noise was added: nothing here is private";
        return saying("epsilon", title, (width, 200.0), sentence);
    }
    let points = || shown.iter().flat_map(|series| &series.points);
    let rounds = points()
        .filter(|point| point.value.is_finite())
        .map(|point| point.round);
    let (Some(first), Some(last)) = (rounds.clone().min(), rounds.max()) else {
        return empty("epsilon", title, width, 200.0);
    };
    let cap = report
        .epsilon_cap
        .filter(|cap| cap.is_finite() && *cap > 0.0);
    let values = points()
        .map(|point| point.value)
        .chain(cap)
        .filter(|value| value.is_finite());
    let top = values.fold(0.0, f64::max) * 1.08;
    let names: Vec<String> = shown.iter().map(|series| series.label()).collect();
    let names = names.iter().map(String::as_str);
    let room = label_room(names, 26.0, 78.0, width);
    let area = Area {
        left: 40.0,
        right: width - room,
        top: 16.0,
        bottom: 246.0,
    };
    let (x, y) = (
        area.across(first as f64, last as f64),
        area.upward(0.0, top),
    );
    let numbers: Vec<(f64, String)> = ticks(0.0, top, 5)
        .into_iter()
        .map(|tick| (tick, short(tick)))
        .collect();
    let mut ends: Vec<f64> = shown.iter().map(|series| end(series, &y)).collect();
    spread(&mut ends, 16.0);
    let body = html! {
        (grid(&area, &y, &numbers))
        (whole_axis(&area, &x, first, last, "round"))
        @if let Some(cap) = cap {
            path class="limit" d=(format!("M{} {}H{}", px(area.left), px(y.place(cap)), px(area.right))) {}
            text class="bad tint halo" x=(px(area.left + 4.0)) y=(px(y.place(cap) - 6.0)) {
                "cap " (three_digits(cap))
            }
        }
        @if !without_noise.is_empty() {
            text class="note" x=(px(area.left)) y=(px(area.bottom + 36.0)) {
                "not private: " (without_noise.join(", "))
            }
        }
        @for (series, end) in shown.iter().zip(&ends) {
            @let steps = steps(series, &x, &y);
            g class=(colour(report, &series.label())) {
                path class="area" d=(format!("{steps}V{}H{}Z", px(area.bottom), px(start(series, &x)))) {}
                path class="line" d=(steps) {}
                @if let Some(point) = series.points.iter().rev().find(|point| point.value.is_finite()) {
                    // a line that ends early has others passing on, upwards: its name goes below them
                    @let drop = if point.round < last { 20.0 } else { 4.5 };
                    circle class="dot" cx=(px(x.place(point.round as f64))) cy=(px(y.place(point.value))) r="4.5" {}
                    text class="tint halo" x=(px(x.place(point.round as f64) + 9.0)) y=(px(end + drop)) {
                        tspan font-weight="600" { (series.label()) } " " (three_digits(point.value))
                    }
                }
            }
        }
    };
    Plot {
        id: "epsilon",
        title,
        width,
        height: 288.0,
        body,
    }
}

/// An axis number without needless zeros.
fn short(value: f64) -> String {
    format!("{value:.3}")
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

fn start(series: &RoundSeries, x: &Scale) -> f64 {
    let first = series.points.iter().find(|point| point.value.is_finite());
    first.map_or(0.0, |point| x.place(point.round as f64))
}

fn end(series: &RoundSeries, y: &Scale) -> f64 {
    let last = series
        .points
        .iter()
        .rev()
        .find(|point| point.value.is_finite());
    last.map_or(0.0, |point| y.place(point.value))
}

/// A staircase: the value holds until the next round is charged.
fn steps(series: &RoundSeries, x: &Scale, y: &Scale) -> String {
    let mut path = String::new();
    for point in series.points.iter().filter(|point| point.value.is_finite()) {
        let (x, y) = (px(x.place(point.round as f64)), px(y.place(point.value)));
        path.push_str(&if path.is_empty() {
            format!("M{x} {y}")
        } else {
            format!("H{x}V{y}")
        });
    }
    path
}
