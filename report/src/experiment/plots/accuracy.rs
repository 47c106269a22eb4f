//! Accuracy by round and region, and the milestones as one line.

use maud::{Markup, html};

use super::colour::colour;
use super::flags::Flags;
use crate::experiment::{Report, RoundSeries};
use crate::number::percent;
use crate::plot::axes::{Area, grid, whole_axis};
use crate::plot::labels::{label_room, spread, text_width};
use crate::plot::scale::Scale;
use crate::plot::{Plot, polyline, px};

/// Held-out accuracy of each region, with phases and events.
pub(crate) fn accuracy(report: &Report, width: f64) -> Plot {
    let title = "Held-out accuracy by round and region".to_owned();
    let rounds = report
        .accuracy
        .iter()
        .flat_map(|series| &series.points)
        .map(|point| point.round);
    let (Some(first), Some(last)) = (rounds.clone().min(), rounds.max()) else {
        return Plot::empty("accuracy", title, width, 200.0);
    };
    let across = |area: &Area| area.across(first as f64, last as f64);
    let names: Vec<String> = report.accuracy.iter().map(RoundSeries::label).collect();
    let names = names.iter().map(String::as_str);
    let room = label_room(names, 44.0, 104.0, width);
    let mut area = Area {
        left: 46.0,
        right: width - room,
        top: 14.0,
        bottom: 0.0,
    };
    let flags = Flags::place(report, &across(&area), area.right);
    area.top += flags.height();
    area.bottom = area.top + 300.0;
    let (x, y) = (across(&area), area.upward(0.0, 1.0));
    let ticks: Vec<(f64, String)> = (0..=5)
        .map(|fifth| (f64::from(fifth) / 5.0, format!("{}%", fifth * 20)))
        .collect();
    let body = html! {
        (phases(report, &area, &x))
        (grid(&area, &y, &ticks))
        (whole_axis(&area, &x, first, last, "round"))
        (flags.draw(&area, &x))
        @for series in &report.accuracy {
            path class=(format!("line {}", colour(report, &series.label()))) d=(line(series, &x, &y)) {}
        }
        (end_labels(report, &x, &y))
    };
    Plot {
        id: "accuracy",
        title,
        width,
        height: area.bottom + 42.0,
        body,
    }
}

fn line(series: &RoundSeries, x: &Scale, y: &Scale) -> String {
    let place = |round: u64, value: f64| {
        value
            .is_finite()
            .then(|| (x.place(round as f64), y.place(value)))
    };
    polyline(
        series
            .points
            .iter()
            .map(|point| place(point.round, point.value)),
    )
}

/// Shaded stretches of rounds, every second one, with their names just above the axis.
fn phases(report: &Report, area: &Area, x: &Scale) -> Markup {
    html! {
        @for (index, phase) in report.phases.iter().enumerate() {
            @let (start, end) = (x.place(phase.first_round.saturating_sub(1) as f64), x.place(phase.last_round as f64));
            @let room = end - start > text_width(&phase.name) * 1.15 + 8.0;
            @if index % 2 == 1 && end > start {
                rect class="band" x=(px(start)) y=(px(area.top)) width=(px(end - start))
                    height=(px(area.bottom - area.top)) {}
            }
            @if room {
                text class="caps" x=(px(start + 8.0)) y=(px(area.bottom - 9.0)) { (phase.name) }
            }
        }
    }
}

/// The name and last value of each line, beside its end.
fn end_labels(report: &Report, x: &Scale, y: &Scale) -> Markup {
    let ends: Vec<End> = report
        .accuracy
        .iter()
        .filter_map(|series| End::of(series, x, y))
        .collect();
    let heights = label_heights(&ends);
    html! {
        @for (end, height) in ends.iter().zip(heights) {
            g class=(colour(report, &end.name)) {
                circle class="dot" cx=(px(end.x)) cy=(px(end.y)) r="4.5" {}
                text class="halo tint" x=(px(end.x + 10.0)) y=(px(height + 4.5)) {
                    tspan font-weight="600" { (end.name) } " " (percent(Some(end.value))) "%"
                }
            }
        }
    }
}

/// The last value of a line and where it is drawn.
struct End {
    name: String,
    value: f64,
    x: f64,
    y: f64,
}

impl End {
    /// None for a line without any value.
    fn of(series: &RoundSeries, x: &Scale, y: &Scale) -> Option<Self> {
        let mut points = series.points.iter().rev();
        let last = points.find(|point| point.value.is_finite())?;
        Some(Self {
            name: series.label(),
            value: last.value,
            x: x.place(last.round as f64),
            y: y.place(last.value),
        })
    }
}

/// Heights of the labels, moved apart where they would overlap.
fn label_heights(ends: &[End]) -> Vec<f64> {
    // labels that end far apart can't overlap, so only neighbours push each other
    let mut heights: Vec<f64> = ends.iter().map(|end| end.y).collect();
    let mut columns: Vec<f64> = ends.iter().map(|end| end.x).collect();
    columns.sort_by(f64::total_cmp);
    columns.dedup_by(|a, b| (*a - *b).abs() < 120.0);
    for column in columns {
        let members: Vec<usize> = (0..ends.len())
            .filter(|&at| (0.0..120.0).contains(&(ends[at].x - column)))
            .collect();
        let mut places: Vec<f64> = members.iter().map(|&at| heights[at]).collect();
        spread(&mut places, 16.0);
        members
            .iter()
            .zip(places)
            .for_each(|(&at, place)| heights[at] = place);
    }
    heights
}

/// The milestones of the summary as a line from dot to dot, one per column of equal width.
pub(crate) fn journey(values: &[Option<f64>], width: f64, height: f64) -> Plot {
    let y = Scale::linear(0.0, 1.0, height - 9.0, 9.0);
    let column = width / values.len().max(1) as f64;
    let places: Vec<Option<(f64, f64)>> = values
        .iter()
        .enumerate()
        .map(|(index, value)| {
            let value = value.filter(|value| value.is_finite())?;
            Some((column * index as f64 + 8.0, y.place(value)))
        })
        .collect();
    // an alarm only where it went down: the lowest may also be the best of two
    let falls = values.windows(2).filter_map(|pair| match pair {
        [Some(before), Some(after)] if after < before => Some(*after),
        _ => None,
    });
    let lowest = falls.fold(f64::INFINITY, f64::min);
    let body = html! {
        path class="thin" d=(polyline(places.iter().copied().filter(Option::is_some))) {}
        @for ((x, at), value) in places.iter().flatten().zip(values.iter().flatten()) {
            circle class=(if *value == lowest { "dot bad" } else { "dot ink" })
                cx=(px(*x)) cy=(px(*at)) r="6" {}
        }
    };
    Plot {
        id: "journey",
        title: "Accuracy at the milestones".into(),
        width,
        height,
        body,
    }
}
