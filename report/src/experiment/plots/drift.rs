//! The drift statistic against its threshold: one small panel per region.

use maud::{Markup, html};

use super::colour::regions;
use crate::experiment::{DriftPoint, EventKind, Report, Verdict};
use crate::number::three_digits;
use crate::plot::axes::{Area, grid, whole_axis};
use crate::plot::labels::text_width;
use crate::plot::scale::{Scale, decades};
use crate::plot::{Plot, polyline, px};

const PANELS_PER_ROW: usize = 3;
const GAP: f64 = 34.0;
const LEGEND: f64 = 34.0;
const PANEL_HEIGHT: f64 = 286.0;

/// Statistic divided by threshold, on a logarithmic scale shared by all panels; 1 is the threshold.
///
/// The line follows the quantity that is closest to its threshold (or furthest above) in each window;
/// the others are faint dots.
pub(crate) fn drift(report: &Report, width: f64) -> Plot {
    let title = "Drift statistic divided by its threshold, by window and region".to_owned();
    let ratios = report.drift.iter().filter_map(ratio);
    let windows = report.drift.iter().map(|point| point.window);
    let (Some(first), Some(last)) = (windows.clone().min(), windows.max()) else {
        return Plot::empty("drift", title, width, 200.0);
    };
    let low = ratios
        .clone()
        .filter(|&ratio| ratio > 0.0)
        .fold(0.5, f64::min)
        .max(1e-3)
        * 0.7;
    let high = ratios.fold(3.0, f64::max).min(1e6) * 1.5;
    let shown: Vec<String> = regions(report)
        .into_iter()
        .filter(|region| report.drift.iter().any(|point| point.region == *region))
        .collect();
    let columns = shown.len().clamp(1, PANELS_PER_ROW);
    let panel_width = (width - GAP * (columns - 1) as f64) / columns as f64;
    let body = html! {
        (legend(report))
        @for (index, region) in shown.iter().enumerate() {
            @let left = (index % columns) as f64 * (panel_width + GAP);
            @let top = LEGEND + (index / columns) as f64 * PANEL_HEIGHT;
            @let area = Area {
                left: left + 38.0, right: left + panel_width - 6.0,
                top: top + 36.0, bottom: top + PANEL_HEIGHT - 46.0,
            };
            (panel(report, region, &area, left, (first, last), (low, high)))
        }
    };
    let rows = shown.len().div_ceil(columns);
    Plot {
        id: "drift",
        title,
        width,
        height: LEGEND + rows as f64 * PANEL_HEIGHT,
        body,
    }
}

/// Statistic over threshold; `None` when either is missing.
pub(crate) fn ratio(point: &DriftPoint) -> Option<f64> {
    let ratio = point.statistic / point.threshold;
    (ratio.is_finite() && point.threshold > 0.0).then_some(ratio)
}

fn panel(
    report: &Report,
    region: &str,
    area: &Area,
    left: f64,
    windows: (u64, u64),
    range: (f64, f64),
) -> Markup {
    let points: Vec<&DriftPoint> = report
        .drift
        .iter()
        .filter(|point| point.region == region)
        .collect();
    let worst = worst_by_window(&points);
    let x = area.across(windows.0 as f64 - 0.4, windows.1 as f64 + 0.4);
    let y = area.upward_logarithmic(range.0, range.1);
    let ticks: Vec<(f64, String)> = decades(range.0, range.1)
        .into_iter()
        .map(|tick| (tick, decade_label(tick)))
        .collect();
    let places = worst
        .iter()
        .map(|point| ratio(point).map(|ratio| (x.place(point.window as f64), y.place(ratio))));
    html! {
        text class="name" x=(px(left)) y=(px(area.top - 18.0)) { (region) }
        text class="note" x=(px(area.right)) y=(px(area.top - 18.0)) text-anchor="end" {
            (outcome(&points))
        }
        (grid(area, &y, &ticks))
        (whole_axis(area, &x, windows.0, windows.1, "window"))
        path class="limit" d=(format!("M{} {}H{}", px(area.left), px(y.place(1.0)), px(area.right))) {}
        (event_lines(report, region, area, &x))
        path class="thin" d=(polyline(places)) {}
        @for point in points.iter().filter(|point| !worst.iter().any(|worst| std::ptr::eq(*worst, **point))) {
            @if let Some(ratio) = ratio(point) {
                circle class="bar mute" opacity=".45" r="2" cx=(px(x.place(point.window as f64))) cy=(px(y.place(ratio))) {}
            }
        }
        @for point in &worst {
            (dot(point, x.place(point.window as f64), ratio(point).map_or(area.bottom - 8.0, |r| y.place(r))))
        }
    }
}

fn decade_label(value: f64) -> String {
    if (1.0..100_000.0).contains(&value) {
        format!("{value:.0}")
    } else {
        format!("{value}")
    }
}

/// The most extreme quantity of each window, by rising window.
fn worst_by_window<'a>(points: &[&'a DriftPoint]) -> Vec<&'a DriftPoint> {
    let mut worst: Vec<&DriftPoint> = Vec::new();
    let mut sorted = points.to_vec();
    sorted.sort_by_key(|point| point.window);
    for point in sorted {
        match worst.last_mut() {
            Some(last) if last.window == point.window => {
                if ratio(point) > ratio(last) {
                    *last = point;
                }
            }
            _ => worst.push(point),
        }
    }
    worst
}

/// What the panel ends in, in a few words.
fn outcome(points: &[&DriftPoint]) -> String {
    let first = points
        .iter()
        .filter(|point| point.verdict == Verdict::Drift);
    match first.map(|point| point.window).min() {
        Some(window) => format!("drift called in window {window}"),
        None => "no drift called".into(),
    }
}

fn event_lines(report: &Report, region: &str, area: &Area, x: &Scale) -> Markup {
    let own = report
        .events
        .iter()
        .filter(|event| event.region == region && event.kind == EventKind::DriftInjected);
    html! {
        @for place in own.filter_map(|event| event.window).map(|window| x.place(window as f64 - 0.5)) {
            line class="mark" x1=(px(place)) x2=(px(place)) y1=(px(area.top)) y2=(px(area.bottom)) {}
            text class="note halo" x=(px(place - 6.0)) y=(px(area.top + 10.0)) text-anchor="end" { "injected" }
        }
    }
}

fn dot(point: &DriftPoint, x: f64, y: f64) -> Markup {
    let (shape, tone) = look(point.verdict);
    html! {
        circle class=(format!("{shape} {tone}")) cx=(px(x)) cy=(px(y)) r="4.5" {
            title {
                "window " (point.window) ": " (point.quantity) " " (three_digits(point.statistic))
                ", threshold " (three_digits(point.threshold)) ", " (point.verdict.name())
            }
        }
    }
}

/// Shape and colour of a verdict; told apart without colour as well.
fn look(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::WarmUp => ("hollow", "mute"),
        Verdict::InsufficientData => ("hollow", "warn"),
        Verdict::Ok => ("dot", "good"),
        Verdict::Warning => ("dot", "warn"),
        Verdict::Drift => ("dot", "bad"),
        Verdict::Mitigating => ("dot", "info"),
        Verdict::Validating => ("hollow", "info"),
        Verdict::Cooldown => ("dot", "mute"),
    }
}

/// The verdicts that occur, in their usual order.
fn legend(report: &Report) -> Markup {
    const ORDER: [Verdict; 8] = [
        Verdict::WarmUp,
        Verdict::InsufficientData,
        Verdict::Ok,
        Verdict::Warning,
        Verdict::Drift,
        Verdict::Mitigating,
        Verdict::Validating,
        Verdict::Cooldown,
    ];
    let mut left = 6.0;
    html! {
        @for verdict in ORDER {
            @if report.drift.iter().any(|point| point.verdict == verdict) {
                @let (shape, tone) = look(verdict);
                circle class=(format!("{shape} {tone}")) cx=(px(left)) cy="9" r="4.5" {}
                text x=(px(left + 11.0)) y="13.5" { (verdict.name()) }
                @let next = left + 33.0 + text_width(verdict.name());
                ({ left = next; "" })
            }
        }
        path class="limit" d=(format!("M{} 9h26", px(left))) {}
        text x=(px(left + 34.0)) y="13.5" { "threshold" }
    }
}
