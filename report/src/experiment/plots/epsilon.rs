//! Epsilon spent by round.

use maud::{Markup, html};

use super::colour::colour;
use crate::experiment::{Report, RoundPoint, RoundSeries};
use crate::number::three_digits;
use crate::plot::axes::{Area, grid, whole_axis};
use crate::plot::labels::{label_room, spread};
use crate::plot::scale::{Scale, ticks};
use crate::plot::{Plot, px};

/// Cumulative epsilon as steps, below its cap.
pub(crate) fn epsilon(report: &Report, width: f64) -> Plot {
    let title = "Epsilon spent on the most charged device, by round".to_owned();
    let spent = Spent::of(report);
    if spent.shown.is_empty() && !spent.without_noise.is_empty() {
        let sentence = "No noise was added: nothing here is private";
        return Plot::sentence("epsilon", title, (width, 200.0), sentence);
    }
    let Some((first, last)) = spent.rounds() else {
        return Plot::empty("epsilon", title, width, 200.0);
    };
    let top = spent.top();
    let area = area(&spent.shown, width);
    let (x, y) = (
        area.across(first as f64, last as f64),
        area.upward(0.0, top),
    );
    let mut ends: Vec<f64> = spent.shown.iter().map(|series| end(series, &y)).collect();
    spread(&mut ends, 16.0);
    let body = html! {
        (grid(&area, &y, &numbers(top)))
        (whole_axis(&area, &x, first, last, "round"))
        @if let Some(cap) = spent.cap { (limit(cap, &area, &y)) }
        @if !spent.without_noise.is_empty() {
            text class="note" x=(px(area.left)) y=(px(area.bottom + 36.0)) {
                "not private: " (spent.without_noise.join(", "))
            }
        }
        @for (series, end) in spent.shown.iter().zip(&ends) {
            g class=(colour(report, &series.label())) {
                (staircase(series, &area, &x, &y))
                (end_label(series, *end, last, &x, &y))
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

/// What a report says of epsilon.
struct Spent<'r> {
    /// Series that end in a value.
    shown: Vec<&'r RoundSeries>,
    /// Names of the others: without noise nothing bounds their loss.
    without_noise: Vec<String>,
    /// Epsilon that must not be passed, where it can be drawn.
    cap: Option<f64>,
}

impl<'r> Spent<'r> {
    fn of(report: &'r Report) -> Self {
        let series = report.epsilon.iter();
        let (shown, others): (Vec<&RoundSeries>, Vec<&RoundSeries>) =
            series.partition(|series| series.is_shown());
        let cap = report.epsilon_cap;
        Self {
            shown,
            without_noise: others.into_iter().map(RoundSeries::label).collect(),
            cap: cap.filter(|cap| cap.is_finite() && *cap > 0.0),
        }
    }

    /// Points that have a place in the drawing.
    fn points(&self) -> impl Iterator<Item = &'r RoundPoint> {
        let points = self.shown.iter().flat_map(|series| &series.points);
        points.filter(|point| point.value.is_finite())
    }

    /// First and last round; none when there is no point.
    fn rounds(&self) -> Option<(u64, u64)> {
        let rounds = || self.points().map(|point| point.round);
        Some((rounds().min()?, rounds().max()?))
    }

    /// The upper end of the axis: above the largest value and the cap.
    fn top(&self) -> f64 {
        let values = self.points().map(|point| point.value).chain(self.cap);
        values.fold(0.0, f64::max) * 1.08
    }
}

/// The rectangle of the data, with room for the names at the right.
fn area(shown: &[&RoundSeries], width: f64) -> Area {
    let names: Vec<String> = shown.iter().map(|series| series.label()).collect();
    let names = names.iter().map(String::as_str);
    Area {
        left: 40.0,
        right: width - label_room(names, 26.0, 78.0, width),
        top: 16.0,
        bottom: 246.0,
    }
}

/// The numbers of the axis of epsilon.
fn numbers(top: f64) -> Vec<(f64, String)> {
    let ticks = ticks(0.0, top, 5).into_iter();
    ticks.map(|tick| (tick, short(tick))).collect()
}

/// The line that must not be passed.
fn limit(cap: f64, area: &Area, y: &Scale) -> Markup {
    html! {
        path class="limit" d=(format!("M{} {}H{}", px(area.left), px(y.place(cap)), px(area.right))) {}
        text class="bad tint halo" x=(px(area.left + 4.0)) y=(px(y.place(cap) - 6.0)) {
            "cap " (three_digits(cap))
        }
    }
}

/// The steps of a series and the area below them.
fn staircase(series: &RoundSeries, area: &Area, x: &Scale, y: &Scale) -> Markup {
    let steps = steps(series, x, y);
    html! {
        path class="area" d=(format!("{steps}V{}H{}Z", px(area.bottom), px(start(series, x)))) {}
        path class="line" d=(steps) {}
    }
}

/// The name and last value of a series at height `end`; `last` is the last round of the plot.
fn end_label(series: &RoundSeries, end: f64, last: u64, x: &Scale, y: &Scale) -> Markup {
    html! {
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
