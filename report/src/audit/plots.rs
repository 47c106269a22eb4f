//! The plots of the page.

use maud::{Markup, html};

use super::outcome::{AdaptiveOutcome, CanaryOutcome, CanaryRun, NoiseOutcome};
use crate::number::three_digits;
use crate::plot::axes::{Area, grid, whole_axis};
use crate::plot::labels::spread;
use crate::plot::scale::{Scale, decades, ticks};
use crate::plot::{Plot, polyline, px};
use crate::style::COLOURS;

const WIDTH: f64 = 1000.0;
/// Panels of a mechanism, side by side.
const PANELS: f64 = 3.0;
const GAP: f64 = 26.0;

/// Histogram, quantiles and variance by round of one mechanism.
pub(crate) fn noise(law: &NoiseOutcome) -> Plot {
    let width = (WIDTH - GAP * (PANELS - 1.0)) / PANELS;
    let area = |panel: f64| Area {
        left: panel * (width + GAP) + 40.0,
        // room for half a dot and half a number at the end
        right: panel * (width + GAP) + width - 8.0,
        top: 26.0,
        bottom: 210.0,
    };
    let body = html! {
        (histogram(law, &area(0.0)))
        (quantiles(law, &area(1.0)))
        (variances(law, &area(2.0)))
    };
    Plot {
        id: id(&law.mechanism),
        title: format!("Noise of mechanism {}", law.mechanism),
        width: WIDTH,
        height: 254.0,
        body,
    }
}

/// Ids must differ within the page.
fn id(mechanism: &str) -> &'static str {
    match mechanism {
        "blt" => "noise-blt",
        "tree" => "noise-tree",
        "adaptive clip" => "noise-adaptive-clip",
        "local" => "noise-local",
        _ => "noise-independent",
    }
}

fn caption(area: &Area, text: &str) -> Markup {
    html! { text class="name" x=(px(area.left)) y=(px(area.top - 10.0)) { (text) } }
}

/// The line below the data with its numbers.
fn axis(area: &Area, x: &Scale, low: f64, high: f64, what: &str) -> Markup {
    html! {
        line class="base" x1=(px(area.left)) x2=(px(area.right))
            y1=(px(area.bottom)) y2=(px(area.bottom)) {}
        @for tick in ticks(low, high, 5) {
            text x=(px(x.place(tick))) y=(px(area.bottom + 19.0)) text-anchor="middle" { (short(tick)) }
        }
        text class="note" x=(px(area.right)) y=(px(area.bottom + 38.0)) text-anchor="end" { (what) }
    }
}

/// An axis number without needless zeros.
fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".to_owned()
    } else {
        text.replace('-', "\u{2212}")
    }
}

fn numbers(low: f64, high: f64, wanted: usize) -> Vec<(f64, String)> {
    let ticks = ticks(low, high, wanted).into_iter();
    ticks.map(|tick| (tick, short(tick))).collect()
}

fn histogram(law: &NoiseOutcome, area: &Area) -> Markup {
    let edge = law.histogram.last().map_or(1.0, |bin| bin.to);
    let densities = law.histogram.iter();
    let top = densities
        .map(|bin| bin.density.max(bin.expected))
        .fold(0.0, f64::max)
        * 1.08;
    let (x, y) = (area.across(-edge, edge), area.upward(0.0, top));
    let curve = law.histogram.iter().map(|bin| {
        let middle = 0.5 * (bin.from + bin.to);
        Some((x.place(middle), y.place(bin.expected)))
    });
    html! {
        (caption(area, "Histogram and law"))
        (grid(area, &y, &numbers(0.0, top, 5)))
        g class="c0" {
            @for bin in &law.histogram {
                @let (left, right) = (x.place(bin.from), x.place(bin.to));
                @let high = y.place(bin.density);
                rect class="bar" opacity="0.45" x=(px(left + 0.5)) width=(px(right - left - 1.0))
                    y=(px(high)) height=(px(area.bottom - high)) {}
            }
        }
        path class="line ink" d=(polyline(curve)) {}
        (axis(area, &x, -edge, edge, "standard deviations"))
    }
}

fn quantiles(law: &NoiseOutcome, area: &Area) -> Markup {
    let all = law.quantiles.iter();
    let edge = all
        .map(|pair| pair.expected.abs().max(pair.measured.abs()))
        .fold(1.0, f64::max);
    let edge = edge * 1.06;
    let (x, y) = (area.across(-edge, edge), area.upward(-edge, edge));
    let diagonal = [-edge, edge].map(|end| Some((x.place(end), y.place(end))));
    html! {
        (caption(area, "Quantiles against the law\u{2019}s"))
        (grid(area, &y, &numbers(-edge, edge, 6)))
        path class="mark" fill="none" d=(polyline(diagonal.into_iter())) {}
        g class="c0" {
            @for pair in &law.quantiles {
                circle class="dot" stroke-width="0.5" r="2.6"
                    cx=(px(x.place(pair.expected))) cy=(px(y.place(pair.measured))) {}
            }
        }
        (axis(area, &x, -edge, edge, "quantile of the law"))
    }
}

/// Measured variances as dots on the lines that were predicted.
fn variances(law: &NoiseOutcome, area: &Area) -> Markup {
    let rounds = law.rounds.len() as u64;
    let highest = law.rounds.iter().map(|round| {
        let measured = round.variance.max(round.running_variance);
        measured.max(round.predicted).max(round.running_predicted)
    });
    let top = highest.fold(0.0, f64::max) * 1.12;
    let x = area.across(1.0, rounds.max(2) as f64);
    let y = area.upward(0.0, top);
    let place = |round: u32, value: f64| Some((x.place(f64::from(round)), y.place(value)));
    let own = law
        .rounds
        .iter()
        .map(|round| place(round.round, round.predicted));
    let sum = law
        .rounds
        .iter()
        .map(|round| place(round.round, round.running_predicted));
    html! {
        (caption(area, "Variance by round, in \u{3c3}\u{b2}"))
        (grid(area, &y, &numbers(0.0, top, 5)))
        path class="line c1" stroke-width="1.25" opacity="0.6" d=(polyline(own)) {}
        path class="line c2" stroke-width="1.25" opacity="0.6" d=(polyline(sum)) {}
        @for round in &law.rounds {
            @let at = px(x.place(f64::from(round.round)));
            circle class="dot c2" r="4" cx=(at) cy=(px(y.place(round.running_variance))) {}
            circle class="dot c1" r="4" cx=(at) cy=(px(y.place(round.variance))) {}
        }
        (whole_axis(area, &x, 1, rounds, "round"))
        text class="tint c1" x=(px(area.left)) y=(px(area.bottom + 36.0)) { "\u{25cf} noise" }
        text class="tint c2" x=(px(area.left + 62.0)) y=(px(area.bottom + 36.0)) {
            "\u{25cf} running sum"
        }
    }
}

/// Scores of the canaries, and what they prove.
pub(crate) fn canaries(outcome: &CanaryOutcome) -> Plot {
    const ROW: f64 = 74.0;
    let rows = outcome.runs.len() as f64;
    let area = |left: f64, right: f64| Area {
        left,
        right,
        top: 34.0,
        bottom: 34.0 + rows * ROW,
    };
    let (scores, bounds) = (area(150.0, 560.0), area(620.0, WIDTH - 6.0));
    let all = outcome.runs.iter().map(|run| run.bound);
    let top = all.fold(outcome.claimed.max(outcome.claimed_gaussian), f64::max) * 1.12;
    let x = bounds.across(0.0, top);
    let claim = px(x.place(outcome.claimed));
    let body = html! {
        (caption(&scores, "Scores: those who took part above, the others below"))
        (caption(&bounds, "Epsilon proved"))
        @for (index, run) in outcome.runs.iter().enumerate() {
            @let middle = scores.top + (index as f64 + 0.5) * ROW;
            text class="name" x="0" y=(px(middle - 2.0)) { (run.name) }
            text class="note" x="0" y=(px(middle + 15.0)) { "z " (run.noise_multiplier) }
            (strip(run, &scores, middle))
            g class=(if run.must_be_refuted { "c2" } else { "c0" }) {
                rect class="bar" opacity="0.55" x=(px(bounds.left)) y=(px(middle - 13.0))
                    height="26" width=(px((x.place(run.bound) - bounds.left).max(1.0))) {}
            }
            text class="name halo" x=(px(x.place(run.bound) + 7.0)) y=(px(middle + 4.5)) {
                (three_digits(run.bound))
            }
        }
        path class="limit" d=(format!("M{claim} {}V{}", px(bounds.top - 2.0), px(bounds.bottom))) {}
        text class="bad tint halo" x=(claim) y=(px(bounds.top - 10.0)) text-anchor="middle" {
            "claimed " (three_digits(outcome.claimed))
        }
        (axis(&bounds, &x, 0.0, top, "epsilon, lower bound"))
    };
    Plot {
        id: "canaries",
        title: "Scores of the canaries and the lower bounds on epsilon that they prove".to_owned(),
        width: WIDTH,
        height: 34.0 + rows * ROW + 46.0,
        body,
    }
}

fn strip(run: &CanaryRun, area: &Area, middle: f64) -> Markup {
    let scores = run.scores.iter().map(|canary| canary.score);
    let (low, high) = scores.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), score| {
        (low.min(score), high.max(score))
    });
    let room = (high - low) * 0.03;
    let x = area.across(low - room, high + room);
    html! {
        line class="grid" x1=(px(area.left)) x2=(px(area.right)) y1=(px(middle)) y2=(px(middle)) {}
        @for canary in &run.scores {
            @let at = px(x.place(canary.score));
            @let (start, end) = if canary.included { (middle - 24.0, middle - 3.0) } else {
                (middle + 3.0, middle + 24.0)
            };
            line class=(if canary.included { "c1" } else { "mute" }) stroke="currentColor"
                stroke-width="1.5" opacity="0.55" x1=(at) x2=(at) y1=(px(start)) y2=(px(end)) {}
        }
    }
}

/// Clips by round, ours and the field's.
pub(crate) fn clips(outcome: &AdaptiveOutcome) -> Plot {
    let lengths = outcome.runs.iter().map(|run| run.clips.len());
    let rounds = lengths.max().unwrap_or(1);
    let (low, high) = clip_range(outcome);
    let area = Area {
        left: 58.0,
        right: WIDTH - 210.0,
        top: 14.0,
        bottom: 330.0,
    };
    let x = area.across(1.0, rounds.max(2) as f64);
    let y = area.upward_logarithmic(low, high);
    let target = y.place(outcome.target);
    let body = html! {
        (grid(&area, &y, &clip_marks(low, high)))
        path class="mark" d=(format!("M{} {}H{}", px(area.left), px(target), px(area.right))) {}
        @for (index, run) in outcome.runs.iter().enumerate() {
            g class=(format!("c{}", index % COLOURS)) {
                @if run.estimation_rounds == 0 {
                    path class="line" stroke-dasharray="2 5" opacity="0.8"
                        d=(clip_line(&run.field_clips, &x, &y)) {}
                }
                path class="line" d=(clip_line(&run.clips, &x, &y)) {}
            }
        }
        (names(outcome, &area, &y))
        (whole_axis(&area, &x, 1, rounds as u64, "round"))
    };
    Plot {
        id: "clips",
        title: "The clip by round in median norms, from each start, and the field\u{2019}s"
            .to_owned(),
        width: WIDTH,
        height: 374.0,
        body,
    }
}

/// Ends of the clips' axis: around all clips that have a place on it, and the target.
fn clip_range(outcome: &AdaptiveOutcome) -> (f64, f64) {
    let runs = outcome.runs.iter();
    let all = runs.flat_map(|run| run.clips.iter().chain(&run.field_clips));
    let usable = all.copied().filter(|clip| is_placed(*clip));
    let low = usable.clone().fold(outcome.target, f64::min).max(1e-9) * 0.6;
    let high = usable.fold(outcome.target, f64::max).min(1e9) * 1.6;
    (low, high)
}

/// Whether a clip has a place on a logarithmic axis.
fn is_placed(clip: f64) -> bool {
    clip.is_finite() && clip > 0.0
}

/// Powers of ten with their labels, at most eight of them.
fn clip_marks(low: f64, high: f64) -> Vec<(f64, String)> {
    let marks = decades(low, high);
    let step = marks.len().div_ceil(8).max(1);
    let marks = marks.into_iter().step_by(step);
    marks.map(|mark| (mark, three_digits(mark))).collect()
}

fn clip_line(clips: &[f64], x: &Scale, y: &Scale) -> String {
    let places = clips.iter().enumerate().map(|(index, clip)| {
        let place = || (x.place(index as f64 + 1.0), y.place(*clip));
        is_placed(*clip).then(place)
    });
    polyline(places)
}

/// What the lines are, at their right ends.
fn names(outcome: &AdaptiveOutcome, area: &Area, y: &Scale) -> Markup {
    let mut labels: Vec<(f64, String, String)> = Vec::new();
    for (index, run) in outcome.runs.iter().enumerate() {
        let colour = format!("c{}", index % COLOURS);
        let name = match run.estimation_rounds {
            0 => format!("from {}", run.start),
            _ => format!("from {}, then frozen", run.start),
        };
        if let Some(last) = run.clips.last() {
            let text = format!("{name}: {}", three_digits(*last));
            labels.push((y.place(*last), colour.clone(), text));
        }
        if let Some(last) = run
            .field_clips
            .last()
            .filter(|_| run.estimation_rounds == 0)
        {
            let text = format!("field\u{2019}s default: {}", three_digits(*last));
            labels.push((y.place(*last), colour, text));
        }
    }
    let mut places: Vec<f64> = labels.iter().map(|(place, _, _)| *place).collect();
    spread(&mut places, 17.0);
    html! {
        @for ((_, colour, text), place) in labels.iter().zip(&places) {
            text class=(format!("tint halo {colour}")) x=(px(area.right + 9.0)) y=(px(place + 4.5)) {
                (text)
            }
        }
    }
}
