//! What an audit found, as CSV.

use super::outcome::{AdaptiveRun, AuditOutcome, CanaryRun, Check, NoiseOutcome, NoiseRound};
use crate::csv_file::{CsvFile, field, optional};
use crate::error::EncodeError;

/// The tables of an audit, in this order. Columns are stable; every number is at full precision.
///
/// | file | one line per | columns |
/// |---|---|---|
/// | `checks.csv` | question | `part,subject,check,measured,expected,p_value,passed` |
/// | `noise.csv` | mechanism and round | `mechanism,round,variance,predicted,running_variance,running_predicted` |
/// | `canaries.csv` | attack and canary | `run,canary,included,score` |
/// | `clips.csv` | start, phase and round | `start,estimation_rounds,round,clip,field_clip` |
///
/// # Errors
/// [`EncodeError`] names the file.
pub fn csv_files(outcome: &AuditOutcome) -> Result<Vec<CsvFile>, EncodeError> {
    Ok(vec![
        checks(outcome)?,
        noise(outcome)?,
        canaries(outcome)?,
        clips(outcome)?,
    ])
}

fn checks(outcome: &AuditOutcome) -> Result<CsvFile, EncodeError> {
    let header = [
        "part", "subject", "check", "measured", "expected", "p_value", "passed",
    ];
    let mut rows: Vec<[String; 7]> = Vec::new();
    for law in &outcome.noise {
        let of_law = |check| question("noise", &law.mechanism, check);
        rows.extend(law.checks.iter().map(of_law));
    }
    for case in &outcome.sensitivity.cases {
        let check = Check {
            name: "distance".to_owned(),
            measured: case.distance,
            expected: case.limit,
            p_value: None,
            passed: case.passed,
        };
        rows.push(question("sensitivity", &case.name, &check));
    }
    for run in &outcome.canaries.runs {
        let check = Check {
            name: "epsilon at least".to_owned(),
            measured: run.bound,
            expected: outcome.canaries.claimed,
            p_value: None,
            passed: run.passed,
        };
        rows.push(question("canaries", &run.name, &check));
    }
    for run in adaptive_runs(outcome) {
        let subject = subject(run);
        let of_run = |check| question("adaptive clip", &subject, check);
        rows.extend(run.checks.iter().map(of_run));
    }
    CsvFile::new("checks.csv", header, rows)
}

fn question(part: &str, subject: &str, check: &Check) -> [String; 7] {
    [
        part.to_owned(),
        subject.to_owned(),
        check.name.clone(),
        field(check.measured),
        field(check.expected),
        optional(check.p_value),
        field(check.passed),
    ]
}

/// A run of the adaptive clip in words.
fn subject(run: &AdaptiveRun) -> String {
    let phase = match run.estimation_rounds {
        0 => "",
        _ => ", then frozen",
    };
    format!("from {} medians{phase}", run.start)
}

fn adaptive_runs(outcome: &AuditOutcome) -> impl Iterator<Item = &AdaptiveRun> {
    outcome.adaptive.iter().flat_map(|adaptive| &adaptive.runs)
}

fn noise(outcome: &AuditOutcome) -> Result<CsvFile, EncodeError> {
    let header = [
        "mechanism",
        "round",
        "variance",
        "predicted",
        "running_variance",
        "running_predicted",
    ];
    let rows = |law: &NoiseOutcome| {
        let row = |round: &NoiseRound| {
            [
                law.mechanism.clone(),
                field(round.round),
                field(round.variance),
                field(round.predicted),
                field(round.running_variance),
                field(round.running_predicted),
            ]
        };
        law.rounds.iter().map(row).collect::<Vec<_>>()
    };
    CsvFile::new("noise.csv", header, outcome.noise.iter().flat_map(rows))
}

fn canaries(outcome: &AuditOutcome) -> Result<CsvFile, EncodeError> {
    let header = ["run", "canary", "included", "score"];
    let rows = |run: &CanaryRun| {
        let scores = run.scores.iter().enumerate();
        let rows = scores.map(|(canary, score)| {
            let (included, score) = (field(score.included), field(score.score));
            [run.name.clone(), field(canary), included, score]
        });
        rows.collect::<Vec<_>>()
    };
    let runs = outcome.canaries.runs.iter();
    CsvFile::new("canaries.csv", header, runs.flat_map(rows))
}

fn clips(outcome: &AuditOutcome) -> Result<CsvFile, EncodeError> {
    let header = ["start", "estimation_rounds", "round", "clip", "field_clip"];
    let rows = |run: &AdaptiveRun| {
        let clips = run.clips.iter().zip(&run.field_clips).enumerate();
        let rows = clips.map(|(index, (clip, of_field))| {
            [
                field(run.start),
                field(run.estimation_rounds),
                field(index + 1),
                field(clip),
                field(of_field),
            ]
        });
        rows.collect::<Vec<_>>()
    };
    CsvFile::new("clips.csv", header, adaptive_runs(outcome).flat_map(rows))
}
