//! Bytes on the wire by round.

use maud::{Markup, html};

use crate::experiment::{Report, WirePoint};
use crate::number::{bytes, bytes_parts};
use crate::plot::axes::{Area, grid, whole_axis};
use crate::plot::scale::{Scale, ticks};
use crate::plot::{Plot, px};

/// Bars at most; longer runs are averaged over neighbouring rounds.
const BARS: usize = 160;

/// Uploads above the line, downloads below it, on one scale.
pub(crate) fn wire(report: &Report, width: f64) -> Plot {
    let title = "Bytes on the wire by round: up from devices, down to devices".to_owned();
    let shown = shown(report);
    let rounds = shown.iter().map(|point| point.round);
    let (Some(first), Some(last)) = (rounds.clone().min(), rounds.max()) else {
        return Plot::empty("wire", title, width, 200.0);
    };
    let bars = bars(&shown);
    let highest = |part: fn(&Bar) -> f64| bars.iter().map(part).fold(0.0, f64::max);
    let (up, down) = (highest(|bar| bar.up), highest(|bar| bar.down));
    let area = Area {
        left: 62.0,
        right: width - 4.0,
        top: 40.0,
        bottom: 246.0,
    };
    // half a round of room on both sides, so that the outer bars are whole
    let x = area.across(first as f64 - 0.5, last as f64 + 0.5);
    let y = area.upward(-down.max(1.0) * 1.12, up.max(1.0) * 1.12);
    let spacing = (area.right - area.left) / bars.len().max(1) as f64;
    let thickness = (spacing * 0.72).clamp(0.5, 26.0);
    let zero = px(y.place(0.0));
    let body = html! {
        (grid(&area, &y, &numbers(up, down)))
        (whole_axis(&area, &x, first, last, "round"))
        @for bar in &bars { (bar.draw(thickness, &x, &y)) }
        line class="base" x1=(px(area.left)) x2=(px(area.right)) y1=(zero) y2=(zero) {}
        (legend(&area))
    };
    Plot {
        id: "wire",
        title,
        width,
        height: 288.0,
        body,
    }
}

/// The numbers of the axis, below zero for downloads.
fn numbers(up: f64, down: f64) -> Vec<(f64, String)> {
    let ticks = ticks(-down * 1.05, up * 1.05, 5).into_iter();
    ticks
        .map(|tick| (tick, axis_bytes(tick.abs().round() as u64)))
        .collect()
}

fn legend(area: &Area) -> Markup {
    html! {
        rect class="bar soft" x=(px(area.left)) y="4" width="10" height="10" {}
        text x=(px(area.left + 16.0)) y="13.5" { "up, from devices" }
        rect class="bar mute" x=(px(area.left + 148.0)) y="4" width="10" height="10" {}
        text x=(px(area.left + 164.0)) y="13.5" { "down, to devices" }
    }
}

/// A round number of bytes without needless zeros.
fn axis_bytes(value: u64) -> String {
    let (number, unit) = bytes_parts(value);
    let short = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        &number
    };
    format!("{short}\u{a0}{unit}")
}

/// Mean of a few neighbouring rounds.
struct Bar {
    name: String,
    round: f64,
    up: f64,
    down: f64,
}

impl Bar {
    fn draw(&self, thickness: f64, x: &Scale, y: &Scale) -> Markup {
        let left = px(x.place(self.round) - thickness / 2.0);
        html! {
            g {
                title {
                    (self.name) ": " (bytes(self.up.round() as u64)) " up, "
                    (bytes(self.down.round() as u64)) " down"
                }
                rect class="bar soft" x=(left) width=(px(thickness)) y=(px(y.place(self.up)))
                    height=(px(y.place(0.0) - y.place(self.up))) {}
                rect class="bar mute" x=(left) width=(px(thickness)) y=(px(y.place(0.0)))
                    height=(px(y.place(-self.down) - y.place(0.0))) {}
            }
        }
    }
}

/// The rounds of the variant that the report leads with, or all where there is one.
fn shown(report: &Report) -> Vec<WirePoint> {
    let of_headline = report
        .wire
        .iter()
        .filter(|point| point.variant == report.summary.headline);
    of_headline.cloned().collect()
}

fn bars(wire: &[WirePoint]) -> Vec<Bar> {
    let size = wire.len().div_ceil(BARS).max(1);
    let mean = |values: &mut dyn Iterator<Item = u64>, count: usize| {
        values.map(|value| value as f64).sum::<f64>() / count as f64
    };
    let bar = |group: &[WirePoint]| {
        let count = group.len();
        let name = match group {
            [one] => format!("round {}", one.round),
            [first, .., last] => format!("rounds {} to {}, mean", first.round, last.round),
            [] => String::new(),
        };
        Bar {
            name,
            round: mean(&mut group.iter().map(|point| point.round), count),
            up: mean(&mut group.iter().map(|point| point.up), count),
            down: mean(&mut group.iter().map(|point| point.down), count),
        }
    };
    wire.chunks(size).map(bar).collect()
}
