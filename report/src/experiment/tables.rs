//! Tables of the page.

use maud::{Markup, html};

use super::{Build, LedgerLine, Report, RoundSeries};
use crate::number::{ABSENT, bytes, count, percent, power_of_ten, three_digits};

/// Rows of numbers shown under a plot at most; the CSV file has them all.
const ROWS: usize = 500;

/// Builds for device profiles, with the reason for each.
pub(crate) fn builds(builds: &[Build]) -> Markup {
    html! {
        @if !builds.is_empty() {
            section {
                h2 { "Builds" }
                p class="lede" {
                    "The model as devices run it. The coordinator offers each profile the largest build \
                     that fits its flash slot and working memory."
                }
                div class="scroll" tabindex="0" {
                    table {
                        thead { tr {
                            th { "Region" } th { "Profile" } th { "Format" }
                            th class="n" { "Flash" } th class="n" { "Arena" }
                            th class="n" { "Accuracy" } th class="n" { "Installed" } th { "Decision" }
                        } }
                        tbody {
                            @for build in builds {
                                tr {
                                    td class="key" { (build.region) }
                                    td { (build.profile) }
                                    td { (build.format) }
                                    td class="n" { (size(build.bytes, build.slot_bytes)) }
                                    td class="n" { (size(build.arena_bytes, build.ram_bytes)) }
                                    td class="n" { (share(build.accuracy)) }
                                    td class="n" { (count(build.installed_on)) }
                                    td class="wide" { (build.decision) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn size(needed: u64, available: Option<u64>) -> Markup {
    html! {
        (count(needed)) "\u{a0}B"
        @if let Some(available) = available {
            span class="sub" { "of " (count(available)) "\u{a0}B" }
        }
    }
}

fn share(accuracy: Option<f64>) -> String {
    match percent(accuracy) {
        text if text == ABSENT => text,
        text => format!("{text}%"),
    }
}

/// Privacy charges by kind.
pub(crate) fn ledger(report: &Report) -> Markup {
    let total: f64 = report
        .ledger
        .iter()
        .map(|line| line.rho)
        .filter(|rho| rho.is_finite())
        .sum();
    html! {
        @if !report.ledger.is_empty() {
            section {
                h2 { "Privacy ledger" }
                p class="lede" {
                    "Every release is charged before it leaves the coordinator. The last column is the \
                     zCDP spent on one device at most."
                    @for meaning in meanings(report) { " " (meaning) "." }
                }
                div class="scroll" tabindex="0" {
                    table {
                        thead { tr {
                            th { "Charge" } th { "Region" } th class="n" { "Releases" }
                            th class="n" { "Per device at most" } th class="n" { "\u{3c1} per device" }
                        } }
                        tbody {
                            @for line in &report.ledger {
                                tr {
                                    td class="key" { (line.kind) }
                                    td { @if line.region.is_empty() { "all" } @else { (line.region) } }
                                    td class="n" { (count(line.charges)) }
                                    td class="n" { (per_device(line)) }
                                    td class="n" { (rho(line.rho)) (meter(line.rho, total)) }
                                }
                            }
                        }
                        tfoot { tr {
                            td colspan="4" { (most_charged(report)) }
                            td class="n" { (rho(total_rho(report))) (meter(f64::NAN, total)) }
                        } }
                    }
                }
            }
        }
    }
}

/// What the last line of the ledger says. Variants without noise have no part in it.
fn most_charged(report: &Report) -> String {
    let privacy = &report.summary.privacy;
    if !privacy.epsilon.is_finite() {
        return "Without noise no \u{3b5} bounds what a device loses".to_owned();
    }
    let with_noise = match report.ledger.iter().all(|line| line.rho.is_finite()) {
        true => "",
        false => " where there is noise",
    };
    format!(
        "Most charged device{with_noise}, \u{3b5} = {} at \u{3b4} = {}",
        three_digits(privacy.epsilon),
        power_of_ten(privacy.delta)
    )
}

/// The loss of the most charged device; not finite where nothing bounds it.
fn total_rho(report: &Report) -> f64 {
    let privacy = &report.summary.privacy;
    match privacy.epsilon.is_finite() {
        true => privacy.rho,
        false => f64::INFINITY,
    }
}

fn per_device(line: &LedgerLine) -> String {
    match line.rho.is_finite() {
        true => count(line.charges_per_device),
        false => ABSENT.into(),
    }
}

/// What the amounts of the ledger mean, each once.
fn meanings(report: &Report) -> Vec<String> {
    let mut meanings = Vec::new();
    let privacy = &report.summary.privacy;
    let lines = report.ledger.iter();
    let lines = lines.map(|line| (&line.adjacency, &line.mechanism));
    for (adjacency, mechanism) in lines.chain([(&privacy.adjacency, &privacy.mechanism)]) {
        let meaning = format!("{}; {mechanism}", adjacency.replace('-', " "));
        if !adjacency.is_empty() && !meanings.contains(&meaning) {
            meanings.push(meaning);
        }
    }
    meanings
}

fn rho(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.4}")
    } else {
        "no bound".into()
    }
}

/// A bar for the share of the total; an empty one keeps the column aligned.
fn meter(part: f64, total: f64) -> Markup {
    let share = if part.is_finite() && total > 0.0 {
        (part / total).clamp(0.0, 1.0)
    } else {
        f64::NAN
    };
    html! {
        @if share.is_finite() {
            span class="meter" aria-hidden="true" { i style=(format!("width:{:.1}%", share * 100.0)) {} }
        } @else {
            span class="meter" aria-hidden="true" style="visibility:hidden" {}
        }
    }
}

/// Accuracy by round and region.
pub(crate) fn accuracy(report: &Report) -> Markup {
    by_round("Accuracy", &report.accuracy, |value| share(Some(value)))
}

/// Epsilon by round.
pub(crate) fn epsilon(report: &Report) -> Markup {
    by_round("\u{3b5}", &report.epsilon, three_digits)
}

fn by_round(name: &str, series: &[RoundSeries], show: impl Fn(f64) -> String) -> Markup {
    let rows = series.iter().flat_map(|series| {
        series.points.iter().map(|point| {
            let cells = [series.label(), count(point.round), show(point.value)];
            (cells, ())
        })
    });
    let total = series.iter().map(|series| series.points.len()).sum();
    numbers(
        ["Series", "Round", name],
        rows.map(|(cells, ())| cells),
        total,
        1,
    )
}

/// Drift statistics.
pub(crate) fn drift(report: &Report) -> Markup {
    let rows = report.drift.iter().map(|point| {
        [
            point.region.clone(),
            point.quantity.clone(),
            point.verdict.name().to_owned(),
            count(point.window),
            three_digits(point.statistic),
            three_digits(point.threshold),
        ]
    });
    let header = [
        "Region",
        "Quantity",
        "Verdict",
        "Window",
        "Statistic",
        "Threshold",
    ];
    numbers(header, rows, report.drift.len(), 3)
}

/// Bytes by round.
pub(crate) fn wire(report: &Report) -> Markup {
    let rows = report.wire.iter().map(|point| {
        let variant = match point.variant.as_str() {
            "" => "all",
            variant => variant,
        };
        [
            variant.to_owned(),
            count(point.round),
            bytes(point.up),
            bytes(point.down),
        ]
    });
    numbers(
        ["Series", "Round", "Up", "Down"],
        rows,
        report.wire.len(),
        1,
    )
}

/// A table whose columns from `first_number` on are numbers.
fn numbers<const COLUMNS: usize>(
    header: [&str; COLUMNS],
    rows: impl Iterator<Item = [String; COLUMNS]>,
    total: usize,
    first_number: usize,
) -> Markup {
    let class = |column| if column >= first_number { "n" } else { "" };
    html! {
        table {
            thead { tr { @for (column, name) in header.iter().enumerate() {
                th scope="col" class=(class(column)) { (name) }
            } } }
            tbody {
                @for row in rows.take(ROWS) {
                    tr { @for (column, cell) in row.iter().enumerate() {
                        td class=(class(column)) { (cell) }
                    } }
                }
            }
        }
        @if total > ROWS {
            p class="caption" { "The first " (ROWS) " of " (count(total as u64)) " rows; the CSV file has them all." }
        }
    }
}
