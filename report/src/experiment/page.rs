//! The HTML page: one file, no script, nothing fetched.

use maud::{Markup, html};

use super::{DriftSummary, Report, Summary, plots, tables};
use crate::document::document;
use crate::number::{bytes_parts, count, duration, percent, power_of_ten, three_digits};
use crate::plot::Plot;

const WIDTH: f64 = 1000.0;
const HALF_WIDTH: f64 = 480.0;

/// The whole page. Light or dark follows the reader's system.
pub fn page(report: &Report) -> String {
    let body = html! {
        (banner(report))
        main class="sheet" {
            (opening(report))
            (journey(&report.summary))
            (facts(report))
            (figures(report))
            (tables::builds(&report.summary.builds))
            (tables::ledger(report))
            (provenance(report))
        }
    };
    document(&report.title, "", &body)
}

fn banner(report: &Report) -> Markup {
    html! {
        @if let Some(seed) = report.seed {
            @let seeds = match report.seeds.as_slice() {
                [] => seed.to_string(),
                seeds => seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", "),
            };
            div class="banner" role="alert" {
                p {
                    strong { "NOT PRIVATE" }
                    "This run was seeded (" code { (seeds) } ") so that it can be repeated to the bit. "
                    "Its noise can be predicted, so the epsilon below protects nobody."
                }
            }
        }
    }
}

fn opening(report: &Report) -> Markup {
    html! {
        header {
            p class="kicker" { "Tributary \u{b7} experiment report" }
            h1 { (report.title) }
            @if !report.subtitle.is_empty() { p class="deck" { (report.subtitle) } }
        }
    }
}

/// The milestones of accuracy that were measured, from first to last.
fn journey(summary: &Summary) -> Markup {
    let mut measured = milestones(summary);
    measured.retain(|(_, value, _)| value.is_some_and(f64::is_finite));
    let values: Vec<Option<f64>> = measured.iter().map(|(_, value, _)| *value).collect();
    html! {
        @if !measured.is_empty() {
            div class="journey" {
                (plots::journey(&values, WIDTH, 92.0).inline())
                div class="steps" style=(format!("--steps:{}", measured.len())) {
                    @for (name, value, caption) in &measured {
                        div class=(if *name == "Drifted" { "low" } else { "" }) {
                            div class="label" { (name) }
                            div class="figure" { (percent(*value)) small { "%" } }
                            p class="caption" { (caption) }
                        }
                    }
                }
            }
        }
    }
}

/// Name, accuracy and caption of each milestone, measured or not.
fn milestones(summary: &Summary) -> Vec<(&'static str, Option<f64>, String)> {
    let accuracy = &summary.accuracy;
    let drifted = summary
        .drift
        .as_ref()
        .map_or("the drifted region", |drift| &drift.region);
    let trained = match summary.headline.as_str() {
        "" => "held-out data, all regions".to_owned(),
        variant => format!("the best variant, {variant}; held-out data, all regions"),
    };
    let before = "before the first round".to_owned();
    let moved = format!("the same model, {drifted} after its data moved");
    let regained = format!("{drifted} after retraining");
    let int8 = "the same model in 8 bits".to_owned();
    vec![
        ("Initial", accuracy.initial, before),
        ("Trained", accuracy.trained, trained),
        ("Drifted", accuracy.drifted, moved),
        ("Recovered", accuracy.recovered, regained),
        ("On the device", accuracy.recovered_int8, int8),
    ]
}

fn fact(name: &str, value: &str, unit: &str, caption: &str) -> Markup {
    html! {
        div {
            dt class="label" { (name) }
            dd {
                div class="figure" { (value) @if !unit.is_empty() { small { " " (unit) } } }
                p class="caption" { (caption) }
            }
        }
    }
}

fn facts(report: &Report) -> Markup {
    let summary = &report.summary;
    let privacy = &summary.privacy;
    let regions = match summary.regions.len() {
        0 => "one population".to_owned(),
        1 => "one region".to_owned(),
        number => format!("in {number} regions: {}", summary.regions.join(", ")),
    };
    let guarantee = format!(
        "\u{3b5} at \u{3b4} = {}, {}; {}",
        power_of_ten(privacy.delta),
        or_dash(&privacy.adjacency.replace('-', " ")),
        or_dash(&privacy.mechanism)
    );
    let (down, down_unit) = bytes_parts(summary.wire_bytes.down);
    let (up, up_unit) = bytes_parts(summary.wire_bytes.up);
    let rounds = report.phases.iter().map(|phase| {
        let rounds = phase
            .last_round
            .saturating_add(1)
            .saturating_sub(phase.first_round);
        format!("{} {}", count(rounds), phase.name)
    });
    let rounds = rounds.collect::<Vec<_>>().join(", ");
    html! {
        dl class="facts" {
            (fact("Devices", &count(summary.devices), "", &regions))
            (fact("Rounds", &count(summary.rounds), "", &rounds))
            @if privacy.epsilon.is_finite() {
                (fact("Privacy spent", &three_digits(privacy.epsilon), "\u{3b5}", &guarantee))
            } @else {
                (fact("Privacy", "none", "", or_dash(&privacy.mechanism)))
            }
            @if let Some(drift) = &summary.drift { (drift_fact(drift)) }
            (fact("Sent to devices", &down, down_unit, "models and builds"))
            (fact("Sent by devices", &up, up_unit, "clipped updates and summaries"))
            @if let Some(seconds) = summary.wall_s {
                (fact("Duration", &duration(seconds), "", "wall clock, the whole run"))
            }
            @if let Some(memory) = summary.peak_rss_bytes {
                @let (number, unit) = bytes_parts(memory);
                (fact("Peak memory", &number, unit, "resident, the whole process"))
            }
        }
    }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "not stated" } else { text }
}

fn drift_fact(drift: &DriftSummary) -> Markup {
    let alarms = match drift.false_alarms {
        0 => "no false alarm".to_owned(),
        1 => "1 false alarm".to_owned(),
        number => format!("{number} false alarms"),
    };
    match drift.detected_window {
        Some(window) => {
            let windows = window
                .saturating_add(1)
                .saturating_sub(drift.injected_window);
            let unit = if windows == 1 { "window" } else { "windows" };
            let caption = format!(
                "{}: began in window {}, called in {window}; {alarms}",
                drift.region, drift.injected_window
            );
            fact("Drift found within", &count(windows), unit, &caption)
        }
        None => {
            let caption = format!(
                "{}: began in window {}, never called; {alarms}",
                drift.region, drift.injected_window
            );
            fact("Drift", "missed", "", &caption)
        }
    }
}

fn figures(report: &Report) -> Markup {
    html! {
        (figure(
            "Accuracy",
            &accuracy_lede(report),
            &plots::accuracy(report, WIDTH),
            tables::accuracy(report),
        ))
        @if !report.drift.is_empty() {
            (figure(
                "Drift",
                "What the monitor saw, from noised histograms only: the statistic divided by its \
                 threshold. Above the dashed line a window counts towards drift.",
                &plots::drift(report, WIDTH),
                tables::drift(report),
            ))
        }
        div class="pair" {
            (figure(
                "Privacy spent",
                &spent(report),
                &plots::epsilon(report, HALF_WIDTH),
                tables::epsilon(report),
            ))
            (figure(
                "Bytes on the wire",
                &wire_lede(report),
                &plots::wire(report, HALF_WIDTH),
                tables::wire(report),
            ))
        }
    }
}

fn accuracy_lede(report: &Report) -> String {
    let of = match report
        .accuracy
        .iter()
        .any(|series| !series.variant.is_empty())
    {
        true => "variant's model",
        false => "region's model",
    };
    format!("Held-out accuracy of each {of} after each round.")
}

fn wire_lede(report: &Report) -> String {
    match report.summary.headline.as_str() {
        "" => "Per round, all regions together.".to_owned(),
        variant => {
            format!("Per round of {variant}, all regions together; the numbers have all variants.")
        }
    }
}

/// What is drawn of the privacy spent, and what each line has to be read with.
fn spent(report: &Report) -> String {
    let mut meanings: Vec<String> = Vec::new();
    for at in &report.epsilon_conditions {
        let meaning = format!(
            " At \u{3b4} = {}, {}; {}.",
            power_of_ten(at.delta),
            or_dash(&at.adjacency.replace('-', " ")),
            or_dash(&at.mechanism)
        );
        if !meanings.contains(&meaning) {
            meanings.push(meaning);
        }
    }
    let steps = match report.drift.is_empty() {
        true => "",
        false => " A step after the last round is what drift windows and calibrations cost.",
    };
    format!(
        "Cumulative \u{3b5} of the most charged device.{steps}{}",
        meanings.concat()
    )
}

/// A section with a plot and the same numbers as a table.
fn figure(heading: &str, lede: &str, plot: &Plot, numbers: Markup) -> Markup {
    html! {
        section {
            h2 { (heading) }
            p class="lede" { (lede) }
            figure { div class="scroll" { (plot.inline()) } }
            details { summary { "The numbers" } div class="scroll" tabindex="0" { (numbers) } }
        }
    }
}

fn provenance(report: &Report) -> Markup {
    let digest = &report.summary.model_digest;
    html! {
        @if !report.facts.is_empty() || !digest.is_empty() {
            section {
                h2 { "Provenance" }
                p class="lede" { "What it takes to repeat and to judge this run." }
                dl class="prov" {
                    @if !digest.is_empty() { dt { "Model" } dd { code { (digest) } } }
                    @if !report.summary.marks.is_empty() { dt { "Marked" } dd { strong { (report.summary.marks.join(", ")) } } }
                    @for fact in &report.facts { dt { (fact.name) } dd { (fact.value) } }
                }
            }
        }
    }
}
