//! The HTML page: one file, no script, nothing fetched.

use maud::{Markup, html};

use super::outcome::{
    AdaptiveOutcome, AuditOutcome, CanaryOutcome, Check, FieldOutcome, NoiseOutcome,
    SensitivityOutcome,
};
use super::plots;
use crate::document::document;
use crate::number::{count, power_of_ten, three_digits};

/// What only this page needs.
const STYLE: &str = "\
.verdict{font-size:12px;font-weight:600;letter-spacing:.06em;text-transform:uppercase;\
white-space:nowrap}\
.verdict.good{color:var(--good)}.verdict.bad{color:var(--bad)}\
.mechanism{margin-top:40px}.mechanism h3{font-size:17px;font-weight:600;margin:0}\
.mechanism .law{margin:0 0 10px;font-size:14px;color:var(--soft)}";

/// The whole page; light or dark follows the reader's system.
pub fn page(outcome: &AuditOutcome) -> String {
    let body = html! {
        main class="sheet" {
            header {
                p class="kicker" { "Tributary \u{b7} privacy audit" }
                h1 { (outcome.title) }
                @if !outcome.description.is_empty() {
                    p class="deck" { (outcome.description) }
                }
            }
            (facts(outcome))
            (noise(&outcome.noise))
            (sensitivity(&outcome.sensitivity))
            (canaries(&outcome.canaries))
            @if let Some(adaptive) = &outcome.adaptive { (self::adaptive(adaptive)) }
            (field(&outcome.field))
            (method())
        }
    };
    document(&outcome.title, STYLE, &body)
}

fn verdict(passed: bool) -> Markup {
    html! {
        @if passed { span class="verdict good" { "pass" } }
        @else { span class="verdict bad" { "fail" } }
    }
}

fn facts(outcome: &AuditOutcome) -> Markup {
    let samples: usize = outcome.noise.iter().map(|law| law.samples).sum();
    let bound = outcome
        .canaries
        .runs
        .first()
        .map_or(f64::NAN, |run| run.bound);
    let fact = |label: &str, figure: Markup, caption: String| {
        html! {
            div {
                dt class="label" { (label) }
                dd {
                    div class="figure" { (figure) }
                    p class="caption" { (caption) }
                }
            }
        }
    };
    html! {
        dl class="facts" {
            (fact("Verdict", html! {
                span class=(if outcome.passed { "good" } else { "bad" }) {
                    (if outcome.passed { "Pass" } else { "Fail" })
                }
            }, "of all parts".to_owned()))
            (fact(
                "Noise measured",
                html! { (count(samples as u64)) },
                format!("values in {} mechanisms", outcome.noise.len()),
            ))
            (fact(
                "Largest change",
                html! {
                    (format!("{:.5}", largest_change(&outcome.sensitivity))) small { "clips" }
                },
                format!("by one device; the bound is {:.5}", outcome.sensitivity.bound),
            ))
            (fact(
                "Epsilon at least",
                html! { (three_digits(bound)) },
                format!("proved by attack; claimed {}", three_digits(outcome.canaries.claimed)),
            ))
        }
    }
}

fn largest_change(sensitivity: &SensitivityOutcome) -> f64 {
    let distances = sensitivity.cases.iter().map(|case| case.distance);
    distances.fold(0.0, f64::max)
}

fn noise(laws: &[NoiseOutcome]) -> Markup {
    html! {
        section {
            h2 { "1. Is the noise what is claimed?" }
            p class="lede" {
                "What a published model holds beyond the exact sum of what devices sent, in standard \
                 deviations. Correlated rounds are taken apart by the covariance that the mechanism \
                 should have; the histogram and the quantiles show what is left, which must be \
                 standard normal."
            }
            @for law in laws { (mechanism(law)) }
        }
    }
}

fn mechanism(law: &NoiseOutcome) -> Markup {
    html! {
        div class="mechanism" {
            h3 { (law.mechanism) " " (verdict(law.passed)) }
            p class="law" {
                (law.law) ". " (count(law.samples as u64)) " values, "
                (law.rounds.len()) " rounds, " (law.devices) " devices per round, "
                (count(law.parameters as u64)) " parameters. A right build fails with probability \
                 at most " (power_of_ten(law.false_alarm)) "; noise that is "
                (format!("{:.1} %", 100.0 * law.noticed_share)) " too small is noticed in every \
                 second audit."
            }
            figure class="scroll" tabindex="0" { (plots::noise(law).inline()) }
            details open[!law.passed] {
                summary { "All questions" }
                div class="scroll" { (checks(&law.checks)) }
            }
        }
    }
}

fn checks(checks: &[Check]) -> Markup {
    html! {
        table {
            thead { tr {
                th { "Question" } th class="n" { "Measured" } th class="n" { "Should be" }
                th class="n" { "p-value" } th { "Verdict" }
            } }
            tbody { @for check in checks {
                tr {
                    td { (check.name) }
                    td class="n" { (digits(check.measured)) }
                    td class="n" { (digits(check.expected)) }
                    td class="n" {
                        @match check.p_value {
                            Some(value) => (p_value(value)),
                            None => "\u{2013}",
                        }
                    }
                    td { (verdict(check.passed)) }
                }
            } }
        }
    }
}

/// A number with four digits that count.
fn digits(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => three_digits(value),
        0.0 => "0".to_owned(),
        size if !(1e-3..1e6).contains(&size) => power_of_ten(value),
        size if size < 10.0 => format!("{value:.4}"),
        _ => format!("{value:.1}"),
    }
}

fn p_value(value: f64) -> String {
    if value >= 0.001 {
        format!("{value:.3}")
    } else {
        power_of_ten(value)
    }
}

fn sensitivity(outcome: &SensitivityOutcome) -> Markup {
    html! {
        section {
            h2 { "2. How much does one device change?" }
            p class="lede" {
                "Two runs with the same noise that differ in one device of " (outcome.devices)
                ": the L2 distance of what a round released, times cohort over clip. The noise is \
                 made for a distance of at most B / S = " (format!("{:.6}", outcome.bound))
                ". Distances are measured to " (power_of_ten(outcome.rounding)) "."
            }
            div class="scroll" tabindex="0" {
                table {
                    thead { tr {
                        th { "The device" } th class="n" { "Counted" } th class="n" { "Distance" }
                        th class="n" { "At most" } th { "Expected" } th { "Verdict" }
                    } }
                    tbody { @for case in &outcome.cases {
                        tr {
                            td class="key" style="white-space:normal" { (case.name) }
                            td class="n" { (case.counted) " of " (case.rounds) }
                            td class="n" { (format!("{:.6}", case.distance)) }
                            td class="n" { (format!("{:.6}", case.limit)) }
                            td { (case.expected) }
                            td { (verdict(case.passed)) }
                        }
                    } }
                }
            }
        }
    }
}

fn canaries(outcome: &CanaryOutcome) -> Markup {
    let confidence = format!("{:.0} %", 100.0 * outcome.confidence);
    html! {
        section {
            h2 { "3. What does an attacker learn?" }
            p class="lede" {
                "A membership attack in one run: " (outcome.canaries) " devices send orthogonal \
                 payloads as long as the clip, each takes part by a coin, and who sees the published \
                 models guesses the coins. Right guesses prove a lower bound on epsilon at delta "
                (power_of_ten(outcome.delta)) " and " (confidence) " confidence. The claim is epsilon "
                (three_digits(outcome.claimed)) " ("
                (three_digits(outcome.claimed_gaussian)) " by the Gaussian curve)."
            }
            figure class="scroll" tabindex="0" { (plots::canaries(outcome).inline()) }
            div class="scroll" tabindex="0" style="margin-top:18px" {
                table {
                    thead { tr {
                        th { "Run" } th class="n" { "z" } th class="n" { "Right guesses" }
                        th class="n" { "Epsilon at least" } th class="n" { "Estimate" }
                        th { "The attack must" } th { "Verdict" }
                    } }
                    tbody { @for run in &outcome.runs {
                        tr {
                            td class="key" { (run.name) }
                            td class="n" { (run.noise_multiplier) }
                            td class="n" { (run.correct) " of " (run.guesses) }
                            td class="n" { strong { (three_digits(run.bound)) } }
                            td class="n" {
                                @match run.estimate {
                                    Some(value) => (three_digits(value)),
                                    None => "\u{2013}",
                                }
                            }
                            td {
                                @if run.must_be_refuted { "refute the claim" }
                                @else { "stay below the claim" }
                            }
                            td { (verdict(run.passed)) }
                        }
                    } }
                }
            }
            p class="caption" style="margin-top:12px" {
                "By the theorem a right build fails with probability at most "
                (format!("{:.0} %", 100.0 * (1.0 - outcome.confidence)))
                "; of " (count(outcome.simulations as u64)) " simulated attacks on Gaussian noise of \
                 exactly this size " (format!("{:.2} %", 100.0 * outcome.simulated_above))
                " went above the claim, with a median bound of "
                (three_digits(outcome.simulated_bound))
                ". The estimate is that of a Gaussian that fits the scores, and no bound."
            }
        }
    }
}

fn adaptive(outcome: &AdaptiveOutcome) -> Markup {
    html! {
        section {
            h2 { "4. Does an adaptive clip arrive?" }
            p class="lede" {
                "The clip of every round, in median norms, read off what devices sent ("
                (outcome.devices) " devices, quantile " (outcome.quantile) ", step "
                (outcome.learning_rate) "). The quantile lies at "
                (format!("{:.3}", outcome.target)) ". Dashed: the field's default rule on the same \
                 norms from the same starts."
            }
            figure class="scroll" tabindex="0" { (plots::clips(outcome).inline()) }
            @for run in &outcome.runs {
                div class="mechanism" {
                    h3 { (run_name(run.start, run.estimation_rounds)) " " (verdict(run.passed)) }
                    div class="scroll" { (checks(&run.checks)) }
                }
            }
            p class="caption" style="margin-top:12px" {
                "A right build fails one of these questions of chance with probability at most "
                (power_of_ten(outcome.false_alarm)) " per run; the distance from the quantile may be "
                (format!("{:.3}", outcome.tolerance)) ", which the stationary law of the clip \
                 passes as rarely."
            }
        }
    }
}

/// A run of the adaptive clip in words.
fn run_name(start: f64, estimation_rounds: u32) -> String {
    let start = format!("From {start} times the median");
    match estimation_rounds {
        0 => format!("{start}, moved by every round"),
        rounds => format!("{start}, estimated for {rounds} rounds, then frozen"),
    }
}

fn field(outcome: &FieldOutcome) -> Markup {
    let row = |name: &str, ours: f64, field: f64| {
        html! {
            tr {
                td class="key" { (name) }
                td class="n" { (three_digits(ours)) }
                td class="n" { (three_digits(field)) }
            }
        }
    };
    html! {
        section {
            h2 { "5. What the field's default would have released" }
            p class="lede" {
                "The field\u{2019}s default (Flower 1.41\u{2019}s rules, re-derived) on the same \
                 updates: one device holds " (count(outcome.examples as u64)) " examples, the other "
                (outcome.devices - 1) " one each. It weights by examples and adds the noise of equal \
                 weights, z C / n. No verdict: nothing of it runs here."
            }
            div class="scroll" tabindex="0" {
                table {
                    thead { tr {
                        th { "Leaving that device out" } th class="n" { "Tributary" }
                        th class="n" { "The field\u{2019}s default" }
                    } }
                    tbody {
                        (row(
                            "moves the mean by so many clip / n",
                            outcome.our_change,
                            outcome.field_change,
                        ))
                        (row(
                            "noise over that movement",
                            outcome.our_multiplier,
                            outcome.field_multiplier,
                        ))
                        (row(
                            &format!(
                                "epsilon of that, rounds: {}, delta {}",
                                outcome.rounds,
                                power_of_ten(outcome.delta)
                            ),
                            outcome.our_epsilon,
                            outcome.field_epsilon,
                        ))
                        @if let Some(ratio) = outcome.field_clip_ratio {
                            (row("adaptive clip: noise over z clips, worst round", 1.0, ratio))
                        }
                    }
                }
            }
        }
    }
}

fn method() -> Markup {
    html! {
        section {
            h2 { "Method" }
            p class="lede" {
                "Every run has a coordinator of its own with a store in a temporary folder, reached \
                 over gRPC on loopback by the agents that all devices run; only what they send is \
                 the auditor\u{2019}s choice. Noise comes from the operating system as in production, \
                 except in part 2, where two runs must have the same. Nothing is read but published \
                 models, the ledger and the bytes that devices sent."
            }
        }
    }
}
