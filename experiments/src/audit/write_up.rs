//! The outcome as HTML, JSON and CSV.
//!
//! Keys and columns are stable. `report.json` is an [`AuditOutcome`]; its fields say what they hold.
//!
//! | file | one line per | columns |
//! |---|---|---|
//! | `checks.csv` | question | `part,subject,check,measured,expected,p_value,passed` |
//! | `noise.csv` | mechanism and round | `mechanism,round,variance,predicted,running_variance,running_predicted` |
//! | `canaries.csv` | attack and canary | `run,canary,included,score` |
//! | `clips.csv` | start, phase and round | `start,estimation_rounds,round,clip,field_clip` |

use std::fs;
use std::path::{Path, PathBuf};

use super::outcome::{AuditOutcome, Check};
use super::{AuditError, page};
use crate::report::{OutputFile, ReportError};

/// Where [`write_audit`] put things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenAudit {
    /// `report.html`.
    pub page: PathBuf,
    /// `report.json`.
    pub json: PathBuf,
    /// The CSV files.
    pub csv: Vec<PathBuf>,
}

/// Writes `report.html`, `report.json` and the CSV files into `folder`, which is made when it is not
/// there. Existing files of these names are replaced.
///
/// # Errors
/// [`AuditError::Report`].
pub fn write_audit(outcome: &AuditOutcome, folder: &Path) -> Result<WrittenAudit, AuditError> {
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
    Ok(WrittenAudit {
        page: write("report.html", &page::page(outcome))?,
        json: write("report.json", &json)?,
        csv: vec![
            write("checks.csv", &checks(outcome)?)?,
            write("noise.csv", &noise(outcome)?)?,
            write("canaries.csv", &canaries(outcome)?)?,
            write("clips.csv", &clips(outcome)?)?,
        ],
    })
}

/// A table from its rows, the header first.
fn table(
    what: &'static str,
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Result<String, ReportError> {
    let encode = |reason: String| ReportError::Encode { what, reason };
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        let written = writer.write_record(row);
        written.map_err(|error| encode(error.to_string()))?;
    }
    let bytes = writer.into_inner();
    let bytes = bytes.map_err(|error| encode(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| encode(error.to_string()))
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn checks(outcome: &AuditOutcome) -> Result<String, ReportError> {
    let names = [
        "part", "subject", "check", "measured", "expected", "p_value", "passed",
    ];
    let mut rows = vec![row(names)];
    let mut add = |part: &str, subject: &str, check: &Check| {
        let p_value = check
            .p_value
            .map_or(String::new(), |value| value.to_string());
        rows.push(row([
            part,
            subject,
            &check.name,
            &check.measured.to_string(),
            &check.expected.to_string(),
            &p_value,
            &check.passed.to_string(),
        ]));
    };
    for law in &outcome.noise {
        law.checks
            .iter()
            .for_each(|check| add("noise", &law.mechanism, check));
    }
    for case in &outcome.sensitivity.cases {
        let check = Check {
            name: "distance".to_owned(),
            measured: case.distance,
            expected: case.limit,
            p_value: None,
            passed: case.passed,
        };
        add("sensitivity", &case.name, &check);
    }
    for run in &outcome.canaries.runs {
        let check = Check {
            name: "epsilon at least".to_owned(),
            measured: run.bound,
            expected: outcome.canaries.claimed,
            p_value: None,
            passed: run.passed,
        };
        add("canaries", &run.name, &check);
    }
    for run in outcome.adaptive.iter().flat_map(|adaptive| &adaptive.runs) {
        let phase = match run.estimation_rounds {
            0 => "",
            _ => ", then frozen",
        };
        let subject = format!("from {} medians{phase}", run.start);
        run.checks
            .iter()
            .for_each(|check| add("adaptive clip", &subject, check));
    }
    table("checks.csv", rows)
}

fn noise(outcome: &AuditOutcome) -> Result<String, ReportError> {
    let mut rows = vec![row([
        "mechanism",
        "round",
        "variance",
        "predicted",
        "running_variance",
        "running_predicted",
    ])];
    for law in &outcome.noise {
        rows.extend(law.rounds.iter().map(|round| {
            row([
                &law.mechanism,
                &round.round.to_string(),
                &round.variance.to_string(),
                &round.predicted.to_string(),
                &round.running_variance.to_string(),
                &round.running_predicted.to_string(),
            ])
        }));
    }
    table("noise.csv", rows)
}

fn canaries(outcome: &AuditOutcome) -> Result<String, ReportError> {
    let mut rows = vec![row(["run", "canary", "included", "score"])];
    for run in &outcome.canaries.runs {
        let scores = run.scores.iter().enumerate();
        rows.extend(scores.map(|(canary, score)| {
            row([
                &run.name,
                &canary.to_string(),
                &score.included.to_string(),
                &score.score.to_string(),
            ])
        }));
    }
    table("canaries.csv", rows)
}

fn clips(outcome: &AuditOutcome) -> Result<String, ReportError> {
    let names = ["start", "estimation_rounds", "round", "clip", "field_clip"];
    let mut rows = vec![row(names)];
    for run in outcome.adaptive.iter().flat_map(|adaptive| &adaptive.runs) {
        let clips = run.clips.iter().zip(&run.field_clips).enumerate();
        rows.extend(clips.map(|(index, (clip, field))| {
            row([
                &run.start.to_string(),
                &run.estimation_rounds.to_string(),
                &(index + 1).to_string(),
                &clip.to_string(),
                &field.to_string(),
            ])
        }));
    }
    table("clips.csv", rows)
}
