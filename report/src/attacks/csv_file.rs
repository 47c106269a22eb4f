//! What the laboratory found, as CSV.

use super::outcome::{AttackOutcome, CellOutcome, PipelineOutcome, SettingOutcome};
use crate::csv_file::{CsvFile, field, optional};
use crate::error::EncodeError;

/// `attacks.csv`: one line per setting, pipeline and attack, numbers at full precision.
///
/// # Errors
/// [`EncodeError`] names the file.
pub fn csv_file(outcome: &AttackOutcome) -> Result<CsvFile, EncodeError> {
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
    let mut rows = Vec::new();
    for setting in &outcome.settings {
        for pipeline in &setting.pipelines {
            let row = |cell| row(setting, pipeline, cell);
            rows.extend(pipeline.cells.iter().map(row));
        }
    }
    CsvFile::new("attacks.csv", header, rows)
}

fn row(setting: &SettingOutcome, pipeline: &PipelineOutcome, cell: &CellOutcome) -> [String; 10] {
    let seeds = || cell.by_seed.iter().copied();
    [
        setting.split.clone(),
        field(setting.devices),
        field(setting.byzantine),
        pipeline.name.clone(),
        cell.attack.clone(),
        field(cell.accuracy),
        field(seeds().fold(f64::INFINITY, f64::min)),
        field(seeds().fold(f64::NEG_INFINITY, f64::max)),
        optional(cell.backdoor),
        field(cell.refused_updates),
    ]
}
