//! The outcome as HTML, JSON and CSV.

use std::fs;
use std::path::{Path, PathBuf};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{AttackError, AttackOutcome, PipelineOutcome, SettingOutcome};
use crate::report::{OutputFile, ReportError, style};

/// Where [`write_attacks`] put things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenAttacks {
    /// `report.html`.
    pub page: PathBuf,
    /// `report.json`.
    pub json: PathBuf,
    /// `attacks.csv`: one line per setting, pipeline and attack.
    pub csv: PathBuf,
}

/// Writes `report.html`, `report.json` and `attacks.csv` into `folder`, which is made when it is not
/// there. Existing files of these names are replaced.
///
/// # Errors
/// [`AttackError::Report`].
pub fn write_attacks(
    outcome: &AttackOutcome,
    folder: &Path,
) -> Result<WrittenAttacks, AttackError> {
    let failed = |path: &Path, source| ReportError::Write {
        path: path.to_owned(),
        source,
    };
    fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        OutputFile::write(&path, text.as_bytes()).map_err(|source| failed(&path, source))?;
        Ok::<_, ReportError>(path)
    };
    let json = serde_json::to_string_pretty(outcome).map_err(|error| ReportError::Encode {
        what: "report.json",
        reason: error.to_string(),
    })?;
    Ok(WrittenAttacks {
        page: write("report.html", &page(outcome))?,
        json: write("report.json", &json)?,
        csv: write("attacks.csv", &csv(outcome)?)?,
    })
}

fn csv(outcome: &AttackOutcome) -> Result<String, ReportError> {
    let encode = |reason: String| ReportError::Encode {
        what: "attacks.csv",
        reason,
    };
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = [
        "split",
        "devices",
        "byzantine",
        "pipeline",
        "attack",
        "accuracy",
        "lowest_seed",
        "highest_seed",
        "backdoor",
        "refused_updates",
    ];
    writer
        .write_record(header)
        .map_err(|error| encode(error.to_string()))?;
    for setting in &outcome.settings {
        for pipeline in &setting.pipelines {
            for cell in &pipeline.cells {
                let seeds = || cell.by_seed.iter().copied();
                let row = [
                    setting.split.clone(),
                    setting.devices.to_string(),
                    setting.byzantine.to_string(),
                    pipeline.name.clone(),
                    cell.attack.clone(),
                    cell.accuracy.to_string(),
                    seeds().fold(f64::INFINITY, f64::min).to_string(),
                    seeds().fold(f64::NEG_INFINITY, f64::max).to_string(),
                    cell.backdoor
                        .map_or(String::new(), |share| share.to_string()),
                    cell.refused_updates.to_string(),
                ];
                writer
                    .write_record(row)
                    .map_err(|error| encode(error.to_string()))?;
            }
        }
    }
    let bytes = writer
        .into_inner()
        .map_err(|error| encode(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| encode(error.to_string()))
}

/// The whole page; light or dark follows the reader's system.
fn page(outcome: &AttackOutcome) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (outcome.title) }
                style { (PreEscaped(style())) }
            }
            body {
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
            }
        }
    }
    .into_string()
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
