//! The HTML page: one file, no script, nothing fetched.

use maud::{Markup, html};

use super::outcome::{AttackOutcome, PipelineOutcome, SettingOutcome};
use crate::document::document;

/// The whole page; light or dark follows the reader's system.
pub fn page(outcome: &AttackOutcome) -> String {
    let body = html! {
        main class="sheet" {
            header {
                p class="kicker" { "Tributary \u{b7} attack laboratory" }
                h1 { (outcome.title) }
                @if !outcome.description.is_empty() {
                    p class="deck" { (outcome.description) }
                }
            }
            @for setting in &outcome.settings { (table(setting)) }
            section { h2 { "Method" } p class="lede" { (outcome.method) } }
        }
    };
    document(&outcome.title, "", &body)
}

fn table(setting: &SettingOutcome) -> Markup {
    html! {
        section {
            h2 { (setting.name()) }
            p class="lede" {
                "Test accuracy in per cent. Small numbers under a backdoor are the share of samples \
                 with the trigger that the model takes for the target."
            }
            div class="scroll" tabindex="0" {
                table {
                    thead { tr {
                        th { "Pipeline" } th class="n" { "Worst" }
                        @for attack in &setting.attacks { th class="n" { (attack) } }
                    } }
                    tbody { @for pipeline in &setting.pipelines { (row(pipeline)) } }
                }
            }
        }
    }
}

fn row(pipeline: &PipelineOutcome) -> Markup {
    html! {
        tr {
            td class="key" {
                (pipeline.name)
                @if !pipeline.refusal.is_empty() {
                    span class="sub" title=(pipeline.refusal) { (pipeline.remark()) }
                }
            }
            td class="n" {
                @if let Some(worst) = &pipeline.worst {
                    strong { (percent(worst.accuracy)) }
                } @else { "\u{2013}" }
            }
            @for cell in &pipeline.cells {
                td class="n" {
                    (percent(cell.accuracy))
                    @if let Some(share) = cell.backdoor { span class="sub" { (percent(share)) } }
                }
            }
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}
